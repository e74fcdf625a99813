//! A corner of the real daemon: containers, networks and volumes with a label of their own, gone
//! when the test ends in whatever way.

#![allow(dead_code, reason = "each test binary uses its part of this")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, NetworkConnectRequest, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
    VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, RemoveImageOptions, RestartContainerOptions,
    StartContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt};
use tackroom::docker::DockerEngine;
use tackroom::domain::id::ContainerId;
use tackroom::domain::label::{Condition, Labels};
use tackroom::domain::line::Channel;
use tackroom::domain::selector::Selector;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::engine::{Engine, LogRequest, Tail};

const LABEL: &str = "tackroom.test";

pub(crate) struct Corner {
    engine: DockerEngine,
    docker: Docker,
    image: String,
    own: String,
    made: AtomicU32,
    /// The ids of images of its own.
    images: Mutex<Vec<String>>,
}

/// What a container may have beyond the contract's [`Spec`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) name: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) log_driver: Option<String>,
    pub(crate) memory: Option<i64>,
    pub(crate) restart_on_failure: Option<i64>,
    pub(crate) health: Option<HealthConfig>,
    pub(crate) gate: Option<String>,
    /// It removes itself when it ends.
    pub(crate) passing: bool,
}

impl Corner {
    /// `None`, said aloud, where there is no daemon.
    pub(crate) async fn made() -> Option<Self> {
        let engine = match tackroom::docker::connect(None) {
            Ok(engine) => engine,
            Err(error) => return skip(&error.to_string()),
        };
        let info = match engine.info().await {
            Ok(info) => info,
            Err(error) => return skip(&error.advice().to_string()),
        };
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let own = format!(
            "{}-{}-{}",
            std::process::id(),
            since.as_nanos(),
            WORLDS.fetch_add(1, Ordering::Relaxed)
        );
        let docker = Docker::connect_with_host(&info.endpoint).unwrap();
        let image = image(&docker).await;
        Some(Self {
            engine,
            docker,
            image,
            own,
            made: AtomicU32::new(0),
            images: Mutex::default(),
        })
    }

    /// The image of its containers.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    pub(crate) fn selector(&self) -> Selector {
        Selector::new(Condition::equals(LABEL, &*self.own), [])
    }

    fn name(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("tackroom-test-{}-{number}", self.own)
    }

    fn labelled(&self, labels: Labels) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> = labels.into_iter().collect();
        labels.insert(LABEL.to_owned(), self.own.clone());
        labels
    }

    pub(crate) async fn create_with(&self, spec: Spec, extra: Extra) -> ContainerId {
        let arguments = spec.script.iter().map(argument).collect();
        self.create_raw(arguments, spec, extra).await
    }

    /// With the fixture's own steps, of which the contract knows only some.
    pub(crate) async fn create_raw(
        &self,
        arguments: Vec<String>,
        spec: Spec,
        extra: Extra,
    ) -> ContainerId {
        let mounts = spec.volume.map(|volume| {
            vec![Mount {
                target: Some("/data".to_owned()),
                source: Some(volume),
                typ: Some(MountType::VOLUME),
                ..Mount::default()
            }]
        });
        let body = ContainerCreateBody {
            image: Some(extra.image.unwrap_or_else(|| self.image.clone())),
            entrypoint: Some(vec!["/fixture".to_owned()]),
            cmd: Some(arguments),
            tty: Some(spec.tty),
            healthcheck: extra.health,
            labels: Some(self.labelled(spec.labels)),
            host_config: Some(HostConfig {
                mounts,
                binds: extra.gate.map(|gate| vec![gate]),
                auto_remove: Some(extra.passing),
                memory: extra.memory,
                memory_swap: extra.memory,
                network_mode: Some("none".to_owned()),
                log_config: extra.log_driver.map(|driver| HostConfigLogConfig {
                    typ: Some(driver),
                    config: None,
                }),
                restart_policy: extra.restart_on_failure.map(|times| RestartPolicy {
                    name: Some(RestartPolicyNameEnum::ON_FAILURE),
                    maximum_retry_count: Some(times),
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions {
            name: Some(extra.name.unwrap_or_else(|| self.name())),
            ..CreateContainerOptions::default()
        };
        let created = self
            .docker
            .create_container(Some(options), body)
            .await
            .unwrap();
        ContainerId::new(created.id)
    }

    /// Waits for a container's first output. Before it, its main process does not hear that it is
    /// asked to stop.
    pub(crate) async fn heard_of(&self, id: &ContainerId) {
        let request = LogRequest {
            tail: Tail::All,
            since: None,
            follow: true,
        };
        bounded(self.engine.logs(id, request).next())
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until it has ended and has been removed, as the engine says.
    pub(crate) async fn gone(&self, id: &ContainerId) {
        use bollard::query_parameters::WaitContainerOptions;
        let options = WaitContainerOptions {
            condition: "removed".to_owned(),
        };
        let waited = self.docker.wait_container(id.as_str(), Some(options));
        // Gone before, or ended with whatever code.
        let _ = bounded(waited.collect::<Vec<_>>()).await;
    }

    /// Waits until the engine has told that memory ran out in a container that was just made.
    pub(crate) async fn has_run_out_of_memory(&self, id: &ContainerId) {
        use bollard::query_parameters::EventsOptions;
        let filters = [("container", id.as_str()), ("event", "oom")];
        let filters = filters.map(|(key, value)| (key.to_owned(), vec![value.to_owned()]));
        let options = EventsOptions {
            since: Some("1".to_owned()),
            filters: Some(filters.into()),
            ..EventsOptions::default()
        };
        let told = self.docker.events(Some(options));
        bounded(std::pin::pin!(told).next()).await.unwrap().unwrap();
    }

    fn image_name(&self) -> String {
        format!("tackroom-test-{}:latest", self.own)
    }

    /// The name of this corner's image, which from now on means one with that content.
    pub(crate) async fn image_named(&self, content: &str) -> String {
        let name = self.image_name();
        import(&self.docker, &name, archive(content.as_bytes())).await;
        let image = self.docker.inspect_image(&name).await.unwrap();
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.extend(image.id);
        name
    }

    /// No image has the corner's name any more.
    pub(crate) async fn forget_images(&self) {
        let name = self.image_name();
        self.docker
            .remove_image(&name, None::<RemoveImageOptions>, None)
            .await
            .unwrap();
    }

    pub(crate) async fn pause(&self, id: &ContainerId) {
        self.docker.pause_container(id.as_str()).await.unwrap();
    }

    /// As `docker restart` does.
    pub(crate) async fn restart(&self, id: &ContainerId) {
        self.docker
            .restart_container(id.as_str(), None::<RestartContainerOptions>)
            .await
            .unwrap();
    }
}

/// Holds a container at its step `gate` until the test opens it. A signal would not do: the
/// engine takes every signal that is sent through it for a stop, and suspends restart policies.
pub(crate) struct Gate(tempfile::TempDir);

impl Gate {
    pub(crate) fn shut() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("gate"), fifo, mode, 0).unwrap();
        Self(dir)
    }

    pub(crate) fn mount(&self) -> String {
        format!("{}:/gate", self.0.path().display())
    }

    /// Returns when the container has gone through.
    pub(crate) async fn open(&self) {
        let path = self.0.path().join("gate");
        let opened = tokio::task::spawn_blocking(|| File::options().write(true).open(path));
        bounded(opened).await.unwrap().unwrap();
    }
}

impl World for Corner {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    fn own_label(&self) -> (String, String) {
        (LABEL.to_owned(), self.own.clone())
    }

    async fn create(&self, spec: Spec) -> ContainerId {
        self.create_with(spec, Extra::default()).await
    }

    async fn start(&self, id: &ContainerId) {
        self.docker
            .start_container(id.as_str(), None::<StartContainerOptions>)
            .await
            .unwrap();
    }

    async fn network(&self, labels: Labels, attached: &ContainerId) -> String {
        let network = self
            .docker
            .create_network(NetworkCreateRequest {
                name: self.name(),
                labels: Some(self.labelled(labels)),
                ..NetworkCreateRequest::default()
            })
            .await
            .unwrap();
        // A container without any network has to leave that state before it can join one.
        let none = bollard::models::NetworkDisconnectRequest {
            container: attached.as_str().to_owned(),
            force: Some(true),
        };
        self.docker.disconnect_network("none", none).await.unwrap();
        self.docker
            .connect_network(
                &network.id,
                NetworkConnectRequest {
                    container: attached.as_str().to_owned(),
                    endpoint_config: Some(EndpointSettings::default()),
                },
            )
            .await
            .unwrap();
        network.id
    }

    async fn volume(&self, labels: Labels) -> String {
        let volume = self
            .docker
            .create_volume(VolumeCreateRequest {
                name: Some(self.name()),
                labels: Some(self.labelled(labels)),
                ..VolumeCreateRequest::default()
            })
            .await
            .unwrap();
        volume.name
    }
}

/// Also when the test panics. The test's own runtime may be gone, so this has one of its own.
impl Drop for Corner {
    fn drop(&mut self) {
        let engine = self.engine.clone();
        let own = self.selector();
        let images =
            std::mem::take(&mut *self.images.lock().unwrap_or_else(PoisonError::into_inner));
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                for container in engine.list(&own).await.unwrap() {
                    engine.remove_container(&container.id).await.unwrap();
                }
                for network in engine.networks(&own).await.unwrap() {
                    engine.remove_network(&network.id).await.unwrap();
                }
                for volume in engine.volumes(&own).await.unwrap() {
                    engine.remove_volume(&volume.name).await.unwrap();
                }
                let endpoint = engine.info().await.unwrap().endpoint;
                let docker = Docker::connect_with_host(&endpoint).unwrap();
                for image in images {
                    if docker.inspect_image(&image).await.is_ok() {
                        docker
                            .remove_image(&image, None::<RemoveImageOptions>, None)
                            .await
                            .unwrap();
                    }
                }
            });
        });
        let cleaned = cleaner.join();
        if !std::thread::panicking() {
            cleaned.expect("the test's containers could not be removed");
        }
    }
}

fn skip(cause: &str) -> Option<Corner> {
    assert_ne!(
        std::env::var("TACKROOM_REQUIRE_DOCKER").as_deref(),
        Ok("1"),
        "this test needs an engine: {cause}"
    );
    writeln!(
        std::io::stderr(),
        "SKIPPED: this test needs an engine: {cause}"
    )
    .ok();
    None
}

fn argument(step: &Step) -> String {
    match step {
        Step::Write(channel, bytes) => {
            let verb = match channel {
                Channel::Out => "out",
                Channel::Err => "err",
            };
            format!("{verb}:{}", String::from_utf8(bytes.clone()).unwrap())
        }
        Step::UntilStopped => "term".to_owned(),
        Step::Exit(code) => format!("exit:{code}"),
    }
}

/// The image with nothing in it but the fixture. It is named after the fixture's contents and
/// stays, as what was built does.
async fn image(docker: &Docker) -> String {
    // Tests run side by side in processes of their own: the first builds, the others wait.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(dir.join("fixture.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let program = build(dir);
    let name = program.file_name().unwrap().to_str().unwrap();
    let reference = format!("tackroom-{name}:latest");
    if docker.inspect_image(&reference).await.is_ok() {
        return reference;
    }
    let archive = archive(&std::fs::read(&program).unwrap());
    import(docker, &reference, archive).await;
    drop(lock);
    reference
}

async fn import(docker: &Docker, reference: &str, archive: Vec<u8>) {
    let (repository, tag) = reference.rsplit_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repository.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(archive.into());
    docker
        .create_image(Some(options), Some(body), None)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
}

/// Compiles the fixture once per version of its source.
fn build(dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker/fixture.rs");
    let text = std::fs::read(&source).unwrap();
    let digest = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let program = dir.join(format!("fixture-{digest:016x}"));
    if !program.exists() {
        let fresh = dir.join("fixture.fresh");
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let output = Command::new(compiler)
            .args(["--edition", "2024", "-C", "target-feature=+crt-static"])
            .args(["-C", "panic=abort", "-C", "strip=symbols", "-o"])
            .arg(&fresh)
            .arg(&source)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        std::fs::rename(fresh, &program).unwrap();
    }
    program
}

/// A tar archive with one executable file in it.
fn archive(program: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |start: usize, text: &str| {
        header[start..start + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, "fixture");
    field(100, "0000755");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", program.len()));
    field(136, "00000000000");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\0");
    field(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(program);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// Nothing in these tests takes that long; a test that waits for what never comes must end.
pub(crate) async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it did not happen in time")
}
