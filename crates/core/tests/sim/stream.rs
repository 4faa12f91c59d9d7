//! The change stream: what the log has, as soon as it is there, whether new readers see it or not.

use crate::{
    engine::Model,
    server::{Link, Server},
    world::{Number, Place, lost},
};
use shadowswap_core::{Error, Event, Kind, Result, engine::Stream as CoreStream, mutations::Mutation};
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Where nothing of ours happens, the stream says so about this often.
const SILENCE: Duration = Duration::from_millis(150);

pub struct Stream {
    pub link: Link,
    /// Of the table that changes are read of.
    pub from: usize,
    /// The next entry of the log.
    pub next: u64,
    pub events: VecDeque<Event<Model>>,
    /// When the first of them is here.
    pub ready: Instant,
    /// When silence has lasted for long enough.
    pub silent: Instant,
    /// What was said last.
    pub told: u64,
}

impl Stream {
    fn server(&self) -> Server {
        self.link.server.clone()
    }

    /// Takes the next entry of the log, if there is one.
    fn read(&mut self) -> bool {
        let server = self.server();
        let mut w = server.world();
        let Some(entry) = w.log.get(self.next as usize).cloned() else { return false };
        let is_ours = entry.marker.is_some() || entry.table == Some(self.from);
        self.next += 1;
        if !is_ours {
            return true;
        }
        let end = Place(self.next);
        self.events.push_back(Event::Begin { tx: Number(entry.tx), committed: 0 });
        let half = entry.changes.len() / 2;
        for (i, change) in entry.changes.into_iter().enumerate() {
            if w.breaks(Mutation::CheckpointInsideTransaction) && i == half && i > 0 {
                self.events.push_back(Event::Progress(end));
            }
            self.events.push_back(Event::Change(change));
        }
        self.events.extend(entry.marker.map(Event::Marker));
        self.events.push_back(Event::Commit(end));
        self.told = self.next;
        let (slow, time) = (w.weather.slow, w.chance.time(2, 15, 25));
        let is_slow = w.chance.one_in(slow * 2);
        let time = if is_slow { time + w.chance.time(200, 4, 3000) } else { time };
        self.ready = Instant::now() + time;
        self.silent = self.ready + SILENCE;
        true
    }

    fn look(&mut self) -> Result<Option<Event<Model>>> {
        loop {
            if !self.link.is_alive() {
                return Err(lost());
            }
            if !self.events.is_empty() {
                return Ok(if Instant::now() >= self.ready { self.events.pop_front() } else { None });
            }
            if !self.read() {
                break;
            }
        }
        if Instant::now() < self.silent {
            return Ok(None);
        }
        self.silent = Instant::now() + SILENCE;
        let (full, breaks) = self.link.server.with(|w| (w.weather.full, w.weather.breaks));
        if self.link.server.draw(|c| c.one_in(full)) {
            return Err(Error::new(Kind::Interrupted, "the change stream needs room that there is not"));
        }
        if self.link.server.draw(|c| c.one_in(breaks * 4)) {
            return Err(lost());
        }
        if self.told == self.next {
            return Ok(None);
        }
        self.told = self.next;
        Ok(Some(Event::Progress(Place(self.next))))
    }
}

impl CoreStream<Model> for Stream {
    async fn next(&mut self) -> Result<Event<Model>> {
        let server = self.server();
        loop {
            if let Some(event) = self.look()? {
                return Ok(event);
            }
            let until = if self.events.is_empty() { self.silent } else { self.ready };
            let (next, id, is_waiting) = (self.next, self.link.id, self.events.is_empty());
            // A new entry, or the end of the connection.
            let woken = server.until(until, |w| {
                let is_there = is_waiting && w.log.len() as u64 > next;
                let is_gone = w.connections.get(&id).is_none_or(|c| c.is_orphan);
                (is_there || is_gone).then_some(())
            });
            if woken.await.is_none() {
                sleep_until(until).await;
            }
        }
    }

    async fn confirm(&mut self, position: &Place) -> Result<()> {
        if !self.link.is_alive() {
            return Err(lost());
        }
        self.link.server.with(|w| {
            if let Some(slot) = &mut w.slot {
                slot.confirmed = slot.confirmed.max(position.0);
            }
        });
        Ok(())
    }
}
