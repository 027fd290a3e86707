//! F11: the log loses its tail, though it was acknowledged, as one broker may after a power cut.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use schemas::topics;

use super::Row;
use super::place::Tools;
use super::shop::{Node, Shop};
use super::trial::{Judged, Scene, Trial};
use crate::load::now_ms;
use crate::log_reader;

/// Of the batches of a partition so many in a hundred are cut off, and one at least.
const CUT_PERCENT: usize = 20;
const REGROWTH_LIMIT: Duration = Duration::from_secs(60);
/// What counts the state stores that were wiped.
const STATE_WIPES: &str = "lonja_state_wipes_total";
/// Where the offset of a batch's last record stands in it.
const LAST_OFFSET_DELTA: usize = 23;
/// Bytes before the length of a batch ends.
const BATCH_PREFIX: usize = 12;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F11-cut", "the log loses acknowledged records under a running shop", 30.0, |tools| {
            cut_and_judge(tools, 16.0, &|scene| {
                lose_tail(scene)?;
                Ok(now_ms())
            })
        }),
        Row::new(
            "F11-regrown",
            "the log loses acknowledged records, and has regrown when the shop returns",
            30.0,
            |tools| cut_and_judge(tools, 40.0, &regrow),
        ),
    ]
}

fn cut_and_judge(tools: &Tools, seconds: f64, strike: &dyn Fn(&Scene) -> Result<i64>) -> Result<Judged> {
    Trial { own: "kafka", seconds, strike, after: &noticed, ..Trial::default() }.run(tools)
}

/// The shop is away while the log is cut and another shop writes more than was lost.
fn regrow(scene: &Scene) -> Result<i64> {
    sleep(Duration::from_secs(2));
    scene.shop().hold()?;
    let were = ends(scene)?;
    lose_tail(scene)?;
    let node = Node { without_stores: true, address: Some(scene.shop().address), ..Node::default() };
    let other = Shop::start(&scene.place, "regrower", &node)?;
    let begun = Instant::now();
    while ends(scene)?.iter().any(|(partition, end)| *end < were[partition]) {
        ensure!(begun.elapsed() < REGROWTH_LIMIT, "the log did not regrow within {REGROWTH_LIMIT:?}");
        sleep(Duration::from_millis(200));
    }
    drop(other);
    scene.shop().release();
    Ok(now_ms())
}

fn ends(scene: &Scene) -> Result<BTreeMap<(&'static str, u32), u64>> {
    let mut all = BTreeMap::new();
    for topic in topics::ALL {
        let ends = log_reader::ends(scene.place.stack.kafka()?, &scene.place.stack.topic_prefix, topic)?;
        all.extend(ends.into_iter().map(|(partition, end)| ((topic.name, partition), end)));
    }
    Ok(all)
}

/// Kills the broker, cuts every partition, and starts the broker again.
fn lose_tail(scene: &Scene) -> Result<()> {
    let servers = scene.servers()?;
    servers.kill("kafka")?;
    let data = servers.directory("kafka")?.join("data");
    let mut lost = 0;
    for entry in fs::read_dir(&data).context("looking for partitions")? {
        let entry = entry.context("looking for partitions")?;
        if entry.file_name().to_string_lossy().starts_with(&scene.place.stack.topic_prefix) {
            lost += cut(&entry.path())?;
        }
    }
    ensure!(lost > 0, "nothing was cut: the fault did not strike");
    eprintln!("  {lost} records were cut off");
    servers.start_again("kafka")?;
    // Until the broker is back nobody can know what it lost: an owner repeats what it had confirmed.
    *scene.verify.borrow_mut() = vec!["--log-only".into(), "--lost-before".into(), now_ms().to_string()];
    Ok(())
}

/// Cuts the last batches of a partition. Returns how many records that were.
fn cut(partition: &Path) -> Result<u64> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(partition).context("looking for segments")? {
        let file = entry.context("looking for segments")?.path();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("log") => segments.push(file),
            // Made anew from the segment by the broker.
            Some("index" | "timeindex" | "snapshot") => fs::remove_file(&file).context("removing an index")?,
            _ => {}
        }
    }
    let last = segments.iter().max().with_context(|| format!("no segment in {}", partition.display()))?;
    let bytes = fs::read(last).context("reading a segment")?;
    let batches = batches(&bytes);
    if batches.is_empty() {
        return Ok(0);
    }
    let keep = batches.len() - (batches.len() * CUT_PERCENT / 100).max(1);
    let (begin, first) = batches[keep];
    let file = File::options().write(true).open(last).context("opening a segment")?;
    file.set_len(begin as u64).context("cutting a segment")?;
    let (at, base) = batches[batches.len() - 1];
    let delta = bytes[at + LAST_OFFSET_DELTA..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    Ok(base + u64::try_from(delta).unwrap_or(0) + 1 - first)
}

/// Where each batch begins, and the offset of its first record.
fn batches(bytes: &[u8]) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(prefix) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BATCH_PREFIX>) {
        let (base, length) = prefix.split_at(8);
        let base = base.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let length = length.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let next = at + BATCH_PREFIX + length;
        if next > bytes.len() || length == 0 {
            break;
        }
        found.push((at, base));
        at = next;
    }
    found
}

/// The owner's state is rebuilt, and every view has stopped and says so.
fn noticed(scene: &Scene) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if scene.shop().counter(STATE_WIPES)? < 1.0 {
        found.push("I12: the owner kept state of records that the log has lost".to_owned());
    }
    let reasons: BTreeMap<_, _> = scene.shop().reasons()?.into_iter().collect();
    for (view, _) in crate::tables::VIEWS {
        let reason = reasons.get(view).map_or("nothing", String::as_str);
        if !reason.starts_with("stopped") {
            found.push(format!("I12: {view} folded records that the log has lost, and says {reason}"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: u64, records: i32) -> Vec<u8> {
        let mut batch = base.to_be_bytes().to_vec();
        batch.extend(20_u32.to_be_bytes());
        batch.resize(LAST_OFFSET_DELTA, 0);
        batch.extend((records - 1).to_be_bytes());
        batch.resize(BATCH_PREFIX + 20, 0);
        batch
    }

    #[test]
    fn the_last_batches_and_the_indexes_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("00000000000000000000.log");
        fs::write(&log, [batch(0, 2), batch(2, 1), batch(3, 4)].concat()).unwrap();
        fs::write(dir.path().join("00000000000000000000.index"), "").unwrap();
        assert_eq!(cut(dir.path()).unwrap(), 4);
        assert_eq!(fs::read(&log).unwrap(), [batch(0, 2), batch(2, 1)].concat());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
