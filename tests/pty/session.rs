//! A program on a pseudo terminal, with an emulator that says what a person would see.

use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use portable_pty::{
    ChildKiller, CommandBuilder, ExitStatus, MasterPty, PtySize, SlavePty, native_pty_system,
};

/// How long anything may take on a loaded machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Session {
    pub(crate) process: u32,
    /// `None` once it was closed.
    master: Option<Box<dyn MasterPty + Send>>,
    // Kept open, so that the terminal can be looked at after the program has ended.
    _slave: Box<dyn SlavePty + Send>,
    keys: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    ended: Receiver<ExitStatus>,
    killer: Box<dyn ChildKiller + Send + Sync>,
    emulator: vt100::Parser,
    /// Everything that was printed.
    printed: Vec<u8>,
}

impl Session {
    pub(crate) fn start(command: CommandBuilder, columns: u16, rows: u16) -> Self {
        let pty = native_pty_system().openpty(size(columns, rows)).unwrap();
        let mut child = pty.slave.spawn_command(command).unwrap();
        let killer = child.clone_killer();
        let process = child.process_id().unwrap();
        let (exit, ended) = mpsc::channel();
        std::thread::spawn(move || exit.send(child.wait().unwrap()));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let (chunks, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut chunk) {
                if chunks.send(chunk[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            keys: pty.master.take_writer().unwrap(),
            master: Some(pty.master),
            _slave: pty.slave,
            output,
            ended,
            killer,
            emulator: vt100::Parser::new(rows, columns, 0),
            printed: Vec::new(),
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.emulator.screen_mut().set_size(rows, columns);
        let master = self.master.as_ref().unwrap();
        master.resize(size(columns, rows)).unwrap();
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.emulator.screen()
    }

    pub(crate) fn text(&self) -> String {
        self.screen().contents()
    }

    /// Whether this was ever printed.
    pub(crate) fn has_shown(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.printed).contains(text)
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self.screen()) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(chunk) => {
                    self.emulator.process(&chunk);
                    self.printed.extend(chunk);
                }
                Err(error) => panic!("{error}: {what} is not on the screen:\n{}", self.text()),
            }
        }
    }

    pub(crate) fn until_text(&mut self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    /// Waits for the end, and for everything that was printed until then.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let Ok(status) = self.ended.recv_timeout(PATIENCE) else {
            for chunk in self.output.try_iter() {
                self.emulator.process(&chunk);
            }
            panic!("it does not end:\n{}", self.text());
        };
        self.until("the normal screen", |screen| !screen.alternate_screen());
        status
    }

    /// Closes the terminal's window while a key is answered, and waits for the end. The thread
    /// that reads lets go of the window with the next thing that is printed.
    pub(crate) fn hang_up(&mut self) -> ExitStatus {
        self.output = mpsc::channel().1;
        self.press("?");
        self.keys = Box::new(std::io::sink());
        self.master = None;
        self.ended.recv_timeout(PATIENCE).expect("it does not end")
    }

    /// Whether the terminal is as a shell wants it.
    pub(crate) fn is_given_back(&self) -> bool {
        let screen = self.screen();
        let termios = self.master.as_ref().unwrap().get_termios().unwrap();
        let cooked = format!("{:?}", termios.local_flags);
        cooked.contains("ICANON")
            && cooked.contains("ECHO")
            && cooked.contains("ISIG")
            && !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ = self.killer.kill();
    }
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols: columns,
        pixel_width: 0,
        pixel_height: 0,
    }
}
