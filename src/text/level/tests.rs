//! Lines as loggers write them, and lines that only look like it.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn all(level: Option<Level>, lines: &[&str]) {
    for line in lines {
        assert_eq!(super::level(line.as_bytes()), level, "{line:?}");
    }
}

#[test]
fn levels_have_names_numbers_and_an_order() {
    for level in Level::ALL {
        assert_eq!(level.word().parse(), Ok(level));
        assert_eq!(Level::from_u8(level as u8), Some(level));
    }
    assert!(Level::ALL.is_sorted());
    assert_eq!(Level::from_u8(0), None);
    assert_eq!(Level::from_u8(7), None);
    for (word, level) in [
        ("WARNING", Level::Warn),
        ("err", Level::Error),
        ("crit", Level::Fatal),
        ("critical", Level::Fatal),
        ("panic", Level::Fatal),
        ("emerg", Level::Fatal),
        ("alert", Level::Fatal),
        ("notice", Level::Info),
        ("verbose", Level::Debug),
    ] {
        assert_eq!(word.parse(), Ok(level), "{word}");
    }
    assert_eq!("loud".parse::<Level>(), Err(UnknownLevel));
    assert_eq!(
        "a name that is far too long".parse::<Level>(),
        Err(UnknownLevel)
    );
}

#[test]
fn json_has_it_under_a_key_at_the_top() {
    all(
        Some(Level::Error),
        &[
            // pino and bunyan
            r#"{"level":50,"time":1700000000000,"pid":1,"hostname":"a","msg":"refused"}"#,
            r#"{"name":"a","hostname":"h","pid":1,"level":50,"msg":"x","time":"2026-11-22T00:39:36Z","v":0}"#,
            // zap, zerolog, logrus
            r#"{"level":"error","ts":1700000000.12,"caller":"a/b.go:1","msg":"x"}"#,
            // slog
            r#"{"time":"2026-11-22T00:39:36Z","level":"ERROR","msg":"x"}"#,
            // Google Cloud
            r#"{"severity":"ERROR","message":"x"}"#,
            // ECS
            r#"{"@timestamp":"2026-11-22T00:39:36Z","log.level":"ERROR","message":"x"}"#,
            // Python
            r#"{"asctime": "2026-11-22 00:39:36,123", "levelname": "ERROR", "message": "x"}"#,
            // journald
            r#"{"MESSAGE":"x","PRIORITY":"3"}"#,
            r#"{"priority":3}"#,
            // monolog
            r#"{"message":"x","context":{},"level":400,"level_name":"ERROR"}"#,
            // .NET, Serilog, HashiCorp
            r#"{"EventId":1,"LogLevel":"Error","Category":"x"}"#,
            r#"{"@t":"2026-11-22T00:39:36Z","@mt":"x","@l":"Error"}"#,
            r#"{"@level":"error","@message":"x"}"#,
            // MongoDB
            r#"{"t":{"$date":"2026-11-22T00:39:36.123+00:00"},"s":"E",  "c":"NETWORK"}"#,
            // escapes, nesting and blanks before it, damage after it
            r#"{"msg":"say \"level\":\"debug\" \\","a":{"level":"info","b":["]}"]},"lvl":"eror"}"#,
            "{ \"level\" : \"error\" , \"msg\" : \"cut of",
            "{\"ok\":true,\"n\":-1.5e3,\"x\":null,\"level\":\"error\"}",
            r#"2026-11-22T00:39:36Z app {"level":"error"}"#,
        ],
    );
    all(
        Some(Level::Info),
        &[
            r#"{"level":30}"#,
            r#"{"severity":6}"#,
            r#"{"severity":"NOTICE"}"#,
            r#"{"severity":"DEFAULT"}"#,
            r#"{"LogLevel":"Information"}"#,
        ],
    );
    all(
        None,
        &[
            r#"{"msg":"error","error":"level"}"#,
            r#"{"a":{"level":"error"}}"#,
            r#"{"a":[{"level":"error"}]}"#,
            r#"{"level":3}"#,
            r#"{"level":"high"}"#,
            r#"{"level":null}"#,
            r#"{"level":{"name":"error"}}"#,
            r#"{"msg":"\"level\":\"error\"}"#,
            r#"{"level"#,
            "{",
            "{}",
            "{ERROR}",
            "{level: error}",
        ],
    );
}

#[test]
fn logfmt_has_it_under_a_key() {
    all(
        Some(Level::Warn),
        &[
            // logrus, Prometheus, Grafana, slog
            r#"time="2026-11-22T00:39:36Z" level=warning msg="no ERROR here" a=b"#,
            "ts=2026-11-22T00:39:36.123Z caller=main.go:42 level=warn component=x err=nil",
            "logger=settings t=2026-11-22T00:39:36.123456789Z level=warn msg=\"x\"",
            "time=2026-11-22T00:39:36.123Z level=WARN source=a.go:1 msg=x",
            r#"severity="WARNING" msg="x""#,
            "lvl=wrn",
            r#"msg="a very long message with level=error and an escaped \" quote" level=warn"#,
            "msg=x \x1b[33mlevel\x1b[0m=info level=warn\x1b[0m",
        ],
    );
    all(
        Some(Level::Error),
        &["t=2026-11-22T00:39:36+0000 lvl=eror msg=x"],
    );
    all(
        None,
        &[
            "error_count=0 errors=1 error=nil",
            "GET /logs?level=error",
            "a=1&level=error",
            "level=3 of=5",
            "level=errors",
            r#"msg="level=error"#,
            "loglevels=error",
            "sea-level=high",
        ],
    );
}

#[test]
fn text_has_it_behind_stamps_brackets_and_names() {
    all(
        Some(Level::Trace),
        &[
            "2026-11-22T00:39:36.123456Z TRACE hyper::proto: flushed",
            "trce: Microsoft.Hosting[14]",
        ],
    );
    all(
        Some(Level::Debug),
        &[
            "2026-11-22 00:39:36.123 UTC [42] DEBUG1:  parse",
            "D1122 00:39:36.123456       1 main.go:20] x",
            "dbug: Microsoft.Hosting[14]",
            "12:39AM DBG starting",
            "DEBUG:asyncio:Using selector: EpollSelector",
            "1:M 22 Nov 2026 00:39:36.123 - Accepted 127.0.0.1:6379",
            "1:M 22 Nov 2026 00:39:36.123 . 0 clients connected",
        ],
    );
    all(
        Some(Level::Info),
        &[
            // tracing, env_logger, log4rs
            "2026-11-22T00:39:36.123456Z  INFO server::http: listening",
            "\x1b[2m2026-11-22T00:39:36.123456Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mapp\x1b[0m: x",
            "[2026-11-22T00:39:36Z INFO  app] listening",
            " INFO  app > listening",
            // Spring Boot, logback, log4j, Hadoop, ZooKeeper, Kafka, Jenkins
            "2026-11-22 00:39:36.123  INFO 1 --- [           main] c.e.App  : Started",
            "00:39:36.123 [main] INFO  com.example.App - Started",
            "2026-11-22 00:39:36,123 [myid:1] - INFO  [main:QuorumPeerMain@1] - x",
            "26/11/22 00:39:36 INFO namenode.NameNode: x",
            "[2026-11-22 00:39:36,123] INFO [KafkaServer id=0] started (kafka.server.KafkaServer)",
            "2026-11-22 00:39:36.123+0000 [id=1]\tINFO\thudson.Main#x: y",
            "[2026-11-22T00:39:36,123][INFO ][o.e.n.Node               ] [a] started",
            // Python: logging, uvicorn, gunicorn, celery, loguru, structlog, rich
            "2026-11-22 00:39:36,123 - root - INFO - ready",
            "INFO:     127.0.0.1:1234 - \"GET / HTTP/1.1\" 200 OK",
            "[2026-11-22 00:39:36 +0000] [1] [INFO] Starting gunicorn",
            "[2026-11-22 00:39:36,123: INFO/MainProcess] celery@x ready.",
            "2026-11-22 00:39:36.123 | INFO     | app.main:run:1 - x",
            "2026-11-22 00:39:36 [info     ] event   key=val",
            "[11/22/26 00:39:36] INFO     x                    app.py:12",
            // Go: slog, klog, zap's console, zerolog's console, Consul
            "2026/11/22 00:39:36 INFO listening addr=:8080",
            "I1122 00:39:36.123456       1 main.go:20] x",
            "I261122 00:39:36.123456 1 util/log/x.go:1 y",
            "2026-11-22T00:39:36.123Z\tinfo\tapp/main.go:12\tlistening",
            "12:39AM INF listening",
            "2026-11-22T00:39:36.123Z [INFO]  agent: x",
            // Ruby, .NET, NLog, Serilog
            "I, [2026-11-22T00:39:36.123456 #1]  INFO -- : x",
            "info: Microsoft.Hosting.Lifetime[14]",
            "2026-11-22 00:39:36.1234|INFO|App.Program|x",
            "[00:39:36 INF] x",
            // nginx, Apache, HAProxy, Envoy, RabbitMQ, PostgreSQL, MySQL, Redis, OpenStack
            "2026/11/22 00:39:36 [notice] 1#1: start worker processes",
            "[Sun Nov 22 00:39:36.123456 2026] [mpm_event:notice] [pid 1:tid 2] AH00489: x",
            "[NOTICE]   (1) : New worker #1 (8) forked",
            "[2026-11-22 00:39:36.123][1][info][main] [source/server/server.cc:1] x",
            "2026-11-22 00:39:36.123456+00:00 [info] <0.230.0> x",
            "2026-11-22 00:39:36.123 UTC [1] LOG:  database system is ready",
            "2026-11-22  0:39:36 0 [Note] mysqld: ready for connections.",
            "1:M 22 Nov 2026 00:39:36.123 * Ready to accept connections",
            "2026-11-22 00:39:36.123 1 INFO nova.compute [-] x",
            "Nov 22 00:39:36 host app[12]: INFO x",
            "<30>Nov 22 00:39:36 host app[12]: x",
        ],
    );
    all(
        Some(Level::Warn),
        &[
            "[Warning] x",
            "2026-11-22T00:39:36.123456Z 0 [Warning] [MY-010068] [Server] x",
            "1:M 22 Nov 2026 00:39:36.123 # WARNING overcommit_memory is set to 0!",
            "1:signal-handler (1700000000) WARNING x",
            "W1122 00:39:36.123456       1 main.go:20] x",
            "WARNING:root:x",
            "npm WARN deprecated x",
            "[GIN-debug] [WARNING] Running in \"debug\" mode.",
            "[WARNING] 325/003936 (1) : x",
            "warning: unused variable",
            "src/main.c:3:5: warning: unused variable",
            "PHP Warning:  Undefined variable",
            "<12>x",
            "2026-11-22 00:39:36.123 UTC [42] WARNING:  x",
            "\x1b[33mwarn\x1b[39m: x",
            "[\x1b[33mwarn\x1b[39m] x",
        ],
    );
    all(
        Some(Level::Error),
        &[
            "2026-11-22T00:39:36Z ERROR foo",
            "ERROR foo",
            "ERROR",
            "Error: Cannot find module 'x'",
            "error: aborting due to 1 previous error",
            "error[E0308]: mismatched types",
            "2026/11/22 00:39:36 [error] 29#29: *1 open() \"/x\" failed",
            "[Sun Nov 22 00:39:36.123456 2026] [core:error] [pid 1:tid 2] x",
            "2026-11-22 00:39:36.123 UTC [42] ERROR:  relation \"x\" does not exist",
            "2026-11-22 00:39:36.123 UTC [42] app@db ERROR:  x",
            "E0712 12:03:41.102451       1 main.go:20] x",
            "ERROR:root:x",
            "2026-11-22 00:39:36.123 ERROR [main] com.example.App - x",
            "SEVERE: x",
            "fail: Microsoft.Hosting[14]",
            "npm ERR! code ELIFECYCLE",
            "<3>x",
            "<27>x",
            "Traceback (most recent call last):",
            "Exception in thread \"main\" java.lang.IllegalStateException: x",
            "\x1b[31;1mERROR\x1b[0m x",
            "\x1b[90m2026-11-22T00:39:36Z\x1b[0m \x1b[1m\x1b[31mERR\x1b[0m\x1b[0m x",
            "2026-11-22 00:39:36 Error x",
            "2026-11-22 00:39:36 worker ERROR x",
        ],
    );
    all(
        Some(Level::Fatal),
        &[
            "panic: runtime error: index out of range",
            "fatal error: all goroutines are asleep - deadlock!",
            "fatal: not a git repository",
            "thread 'main' panicked at src/main.rs:1:1:",
            "thread 'main' (17) panicked at src/main.rs:1:1:",
            "2026-11-22 00:39:36.123 UTC [1] FATAL:  role \"x\" does not exist",
            "2026-11-22 00:39:36.123 UTC [1] PANIC:  could not write",
            "2026/11/22 00:39:36 [emerg] 1#1: host not found",
            "2026/11/22 00:39:36 [crit] 1#1: x",
            "F1122 00:39:36.123456       1 main.go:20] x",
            "crit: Microsoft.Hosting[14]",
            "[ALERT]    (1) : x",
            "2026-11-22 00:39:36,123 CRITICAL x",
            "PHP Fatal error:  Uncaught Exception",
            "<0>x",
        ],
    );
}

#[test]
fn a_word_of_the_message_is_no_level() {
    all(
        None,
        &[
            "",
            " ",
            "0 errors",
            "0 ERROR",
            "error_count=0",
            "no error",
            "no ERROR",
            "No Error: all is well",
            "error: null",
            "/errors/404",
            "GET /errors/404 404",
            "errors: 5",
            "ERRORS",
            "finished with ERROR",
            "2026-11-22 00:39:36 finished without any ERROR",
            "2026-11-22 00:39:36 the request ended in an ERROR state",
            "2026-11-22 00:39:36 Connected. ERROR count is 0",
            "127.0.0.1 - - [22/Nov/2026:00:39:36 +0000] \"TRACE / HTTP/1.1\" 405 0",
            "HTTP/1.1 500 INTERNAL SERVER ERROR",
            "Information: none",
            "informational",
            "Tests run: 5, Failures: 0, ERROR: 0",
            "error handling is set up",
            "debug build finished",
            "    error: a continuation",
            "    at com.example.Error.main(Error.java:5)",
            "loss INF",
            "[error-handler] ready",
            "[debug_toolbar] ready",
            "my_ERROR_x",
            "E0712",
            "Exception: x",
            "<300>x",
            "<>x",
            "thread 'main' started",
            "2026-11-22 00:39:36.123 UTC [42] STATEMENT:  SELECT 'ERROR:  x'",
            "2026-11-22 00:39:36.123 UTC [42] DETAIL:  Key exists, level=error",
            "2026-11-22 00:39:36.123 UTC [42] HINT:  x",
            "2026-11-22 00:39:36.123 UTC [42] CONTEXT:  x",
            "\tat java.base/java.lang.Thread.run(Thread.java:1)",
            "msg=\"ERROR\" a=b",
            "logger started \x1b[31mERROR",
        ],
    );
    let deep = format!("{}ERROR", "2026-11-22 ".repeat(8));
    all(None, &[&deep]);
}

fn parts() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b"=",
        b":",
        b" ",
        b"\t",
        b"\x1b",
        b"\x1b[",
        b"m",
        b"level",
        b"msg",
        b"ERROR",
        b"error",
        b"Fatal",
        b" error:",
        b"DEBUG",
        b"1:",
        b"E0712 12:",
        b"<3>",
        b"1:M",
        b"#",
        b"thread '",
        b"2026-11-22 ",
        b"|",
        b"(",
        b")",
        b"null",
        b"LOG:  ",
        b"\xff",
        b"\0",
        b",",
        b"error[",
        b"{\"t\":{\"$date\"",
        b"\"s\":",
        b"PHP ",
    ];
    proptest::collection::vec(prop::sample::select(pieces), 0..24)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_can_be_asked(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        level(&bytes);
    }

    #[test]
    fn so_can_any_mixture_of_what_matters(bytes in parts()) {
        level(&bytes);
    }

    #[test]
    fn every_level_is_found_in_every_case(index in 0usize..6, upper: bool) {
        let expected = Level::ALL[index];
        let word = expected.word();
        let word = if upper { word.to_uppercase() } else { word.to_owned() };
        for line in [
            format!("{{\"a\":1,\"level\":\"{word}\"}}"),
            format!("a=1 level={word}"),
            format!("2026-11-22 00:39:36 [{word}] x"),
            format!("{word}: x"),
        ] {
            prop_assert_eq!(level(line.as_bytes()), Some(expected), "{}", line);
        }
    }
}
