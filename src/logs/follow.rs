//! Following the selected sources: which readers there are, and what each has to know.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::reader::Reader;
use self::view::View;
use super::{FollowEvent, FollowInput, FollowOptions};
use crate::domain::container::Container;
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::line::SourceId;
use crate::engine::{Engine, Tail};

mod history;
mod reader;
#[cfg(test)]
mod tests;
mod view;

/// Events between the readers and whoever takes them, of up to some thousand lines each. When it is
/// full the readers wait, and with them the engine: no line is dropped.
const CAPACITY: usize = 32;

/// Follows the logs of the selected sources, each by a reader of its own.
///
/// A source is a container's name: its reader goes on across restarts, with a container that is
/// created anew under the name, and after an outage, and marks where that happened.
///
/// Once `inputs` is closed every reader reads to the present end of its log, and the stream
/// ends. It ends at once when it is dropped. To be called within a tokio runtime.
pub fn follow(
    engine: Arc<dyn Engine>,
    inputs: mpsc::Receiver<FollowInput>,
    options: FollowOptions,
) -> impl Stream<Item = FollowEvent> + Send + 'static {
    let (told, heard) = mpsc::channel(CAPACITY);
    let follower = Follower {
        engine,
        options,
        told,
        views: HashMap::new(),
        names: BTreeMap::new(),
        current: BTreeMap::new(),
        initial: None,
        readers: JoinSet::new(),
    };
    // A task of its own, and one per reader: what happened is taken note of even while nobody
    // takes what was read, and several logs are read on several cores.
    let conductor = AbortOnDropHandle::new(tokio::spawn(follower.run(inputs)));
    stream::unfold((heard, conductor), async |(mut heard, conductor)| {
        let event = heard.recv().await?;
        Some((event, (heard, conductor)))
    })
}

struct Follower {
    engine: Arc<dyn Engine>,
    options: FollowOptions,
    told: mpsc::Sender<FollowEvent>,
    /// What the reader of each source knows.
    views: HashMap<SourceId, watch::Sender<View>>,
    /// The last known name of each container.
    names: BTreeMap<ContainerId, SourceId>,
    /// The container that has each name now, and whether it runs.
    current: BTreeMap<SourceId, (ContainerId, bool)>,
    /// Those that the first list had.
    initial: Option<BTreeSet<ContainerId>>,
    readers: JoinSet<()>,
}

impl Follower {
    async fn run(mut self, mut inputs: mpsc::Receiver<FollowInput>) {
        while let Some(input) = inputs.recv().await {
            match input {
                FollowInput::Containers(containers) => self.containers(&containers),
                FollowInput::Event(event) => self.event(&event),
                FollowInput::Select(sources) => self.select(sources),
            }
        }
        for view in self.views.values() {
            view.send_modify(|view| view.closing = true);
        }
        while self.readers.join_next().await.is_some() {}
    }

    fn containers(&mut self, containers: &[Container]) {
        self.names.clear();
        self.current.clear();
        self.initial.get_or_insert_with(|| {
            let ids = containers.iter().map(|container| container.id.clone());
            ids.collect()
        });
        for container in containers {
            let source = SourceId(container.name.as_str().into());
            self.names.insert(container.id.clone(), source.clone());
            let now = (container.id.clone(), container.state.is_alive());
            self.current.insert(source, now);
        }
        for (source, view) in &self.views {
            let now = self.current.get(source).cloned();
            view.send_if_modified(|view| view.now(now));
        }
    }

    fn event(&self, event: &EngineEvent) {
        let source = self.names.get(&event.container).cloned();
        let source = source.unwrap_or_else(|| SourceId(event.name.as_str().into()));
        let Some(view) = self.views.get(&source) else {
            return;
        };
        let container = event.container.clone();
        match event.action {
            Action::Died { exit_code } => {
                view.send_modify(|view| view.died(container, event.at, exit_code));
            }
            Action::OutOfMemory => {
                view.send_modify(|view| view.ran_out_of_memory(container, event.at));
            }
            Action::Destroyed => view.send_modify(|view| view.went(container, event.at)),
            // A reason to look, even where there is nothing to remember.
            Action::Started => view.send_modify(|view| view.started(&container)),
            _ => {}
        }
    }

    /// Whether a container was there when following began.
    fn is_initial(&self, now: Option<&(ContainerId, bool)>) -> bool {
        match (&self.initial, now) {
            (None, _) => true,
            (Some(initial), Some((id, _))) => initial.contains(id),
            (Some(_), None) => false,
        }
    }

    fn select(&mut self, sources: BTreeSet<SourceId>) {
        for (source, view) in &self.views {
            let selected = sources.contains(source);
            view.send_if_modified(|view| {
                let changed = view.selected != selected;
                view.selected = selected;
                changed
            });
        }
        for source in sources {
            if self.views.contains_key(&source) {
                continue;
            }
            let now = self.current.get(&source).cloned();
            let mut options = self.options;
            if options.new_from_start && !self.is_initial(now.as_ref()) {
                options.tail = Tail::All;
            }
            let (view, seen) = watch::channel(View::selected(now));
            let reader = Reader::new(
                Arc::clone(&self.engine),
                source.clone(),
                options,
                seen,
                self.told.clone(),
            );
            self.readers.spawn(reader.run());
            self.views.insert(source, view);
        }
    }
}
