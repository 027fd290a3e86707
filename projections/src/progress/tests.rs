use std::time::Duration;

use schemas::topics;

use super::*;

const P: Partition = Partition { topic: &topics::ORDER, number: 3 };
const OTHER: Partition = Partition { topic: &topics::STOCK, number: 3 };

fn progress() -> (Progress, Course) {
    let progress = Progress::default();
    let course = progress.register("v", 1, &[P]);
    (progress, course)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

#[tokio::test]
async fn a_waiter_wakes_when_its_record_is_folded() {
    let (progress, course) = progress();
    course.publish([(P, 7)].into_iter());
    assert_eq!(progress.wait_for("v", &[(P, 6), (OTHER, 99)], soon()).await, Ok(1));
    assert_eq!(progress.wait_for("v", &[(P, 7)], soon()).await, Err(NotYet::Deadline { view: "v".into() }));
    let waiter = {
        let progress = progress.clone();
        let late = Instant::now() + Duration::from_secs(60);
        tokio::spawn(async move { progress.wait_for("v", &[(P, 7)], late).await })
    };
    tokio::task::yield_now().await;
    course.publish([(P, 8)].into_iter());
    assert_eq!(waiter.await.unwrap(), Ok(1));
}

#[tokio::test]
async fn a_store_that_came_back_with_less_is_waited_for_again() {
    let (progress, course) = progress();
    course.publish([(P, 7)].into_iter());
    course.restore([(P, 5)].into_iter());
    assert_eq!(progress.wait_for("v", &[(P, 6)], soon()).await, Err(NotYet::Deadline { view: "v".into() }));
    assert_eq!(progress.wait_for("v", &[(P, 4)], soon()).await, Ok(1));
}

#[tokio::test]
async fn nobody_waits_for_a_view_that_has_stopped() {
    let (progress, course) = progress();
    course.set_state(ViewState::Stopped { reason: "x".into() });
    let late = Instant::now() + Duration::from_secs(60);
    let stopped = NotYet::Stopped { view: "v".into(), reason: "x".into() };
    assert_eq!(progress.wait_for("v", &[(P, 0)], late).await, Err(stopped));
    assert_eq!(progress.wait_for("w", &[], late).await, Err(NotYet::Unknown { view: "w".into() }));
}

#[test]
fn caught_up_is_to_have_reached_the_ends_of_the_start() {
    let (progress, course) = progress();
    assert!(!progress.is_caught_up());
    course.aim(BTreeMap::from([(P, 2)]));
    course.aim(BTreeMap::from([(P, 9)]));
    course.publish([(P, 1)].into_iter());
    assert!(!progress.is_caught_up());
    course.publish([(P, 2)].into_iter());
    assert!(progress.is_caught_up());
    course.set_state(ViewState::Stopped { reason: "x".into() });
    assert!(!progress.is_caught_up());
}

#[tokio::test]
async fn readers_see_the_generation_that_is_live() {
    let (progress, course) = progress();
    course.publish([(P, 7)].into_iter());
    let next = progress.register("v", 2, &[P]);
    next.publish([(P, 3)].into_iter());
    assert_eq!((progress.live("v"), progress.reflects("v")), (Some(1), vec![(P, 7)]));
    assert_eq!(progress.generation_reflects("v", 2), [(P, 3)]);
    progress.set_live("v", 2);
    assert_eq!(progress.reflects("v"), [(P, 3)]);
    let late = progress.wait_for("v", &[(P, 5)], soon()).await;
    assert_eq!(late, Err(NotYet::Deadline { view: "v".into() }));
    progress.forget("v", 1);
    progress.forget("v", 2);
    assert_eq!(progress.generations(), [("v", 2, ViewState::Live)]);
}

#[tokio::test]
async fn who_waits_for_a_generation_that_is_retired_waits_for_the_live_one() {
    let (progress, course) = progress();
    course.publish([(P, 4)].into_iter());
    let waiting = tokio::spawn({
        let (progress, deadline) = (progress.clone(), Instant::now() + Duration::from_secs(30));
        async move { progress.wait_for("v", &[(P, 5)], deadline).await }
    });
    course.awaited().await;
    let next = progress.register("v", 2, &[P]);
    next.publish([(P, 3)].into_iter());
    progress.set_live("v", 2);
    progress.forget("v", 1);
    next.awaited().await;
    next.publish([(P, 6)].into_iter());
    assert_eq!(waiting.await.unwrap(), Ok(2));
}
