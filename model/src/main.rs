use std::time::Instant;
use lonja_model::{protocol::*, rules::*};
use stateright::{Checker, Model};
fn main() {
    let a: Vec<u8> = std::env::args().nth(1).unwrap().split(',').map(|x| x.parse().unwrap()).collect();
    let f: Vec<u8> = std::env::args().nth(2).unwrap().split(',').map(|x| x.parse().unwrap()).collect();
    let bounds = Bounds{owners:a[0],claims:a[1],attempts:a[2],records:a[3],log:a[4]};
    let faults = Faults{holes:f[0],copies:f[1],reordering:f[2]>0};
    let threads: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let t=Instant::now();
    let c = Protocol{bounds,faults,rules:Rules::ALL,only:None}.checker().threads(threads).spawn_bfs().join();
    println!("{bounds:?} {faults:?} {} unique {} total depth {} {:?}", c.unique_state_count(), c.state_count(), c.max_depth(), t.elapsed());
    for (n,p) in c.discoveries() { println!("{n}: {}", p.into_actions().iter().map(|a|a.to_string()).collect::<Vec<_>>().join("; ")); }
}
