#!/bin/sh
# nginx does not read resolv.conf: the resolver's address, which differs between engines, goes into its configuration.
set -eu

resolver=$(awk '/^nameserver/ { print $2; exit }' /etc/resolv.conf)
case $resolver in *:*) resolver="[$resolver]" ;; esac
sed "s/@RESOLVER@/$resolver/" /etc/nginx/nginx.conf.template > /etc/nginx/nginx.conf

exec nginx -g 'daemon off;'
