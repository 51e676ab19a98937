//! What goes well: messages in, answers out in order, resends recognised.

use model::Format;
use tokio::io::AsyncWriteExt;

use super::support::{Memory, Ward, formats, framed, message, msa};
use crate::mllp::PIPELINE_MAX;

#[tokio::test]
async fn a_message_is_stored_as_it_came_and_answered() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.write(framed(&message("A1"))).await;
    let answer = peer.answer().await.unwrap();
    let fresh = answer.split('|').nth(9).unwrap().to_owned();
    assert!(fresh.starts_with('W') && fresh.len() <= 20);
    insta::assert_snapshot!(answer.replace(&fresh, "[fresh]").replace('\r', "\n"), @r"
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|[fresh]|P|2.5.1
    MSA|AA|A1
    ");
    let stored = ward.memory.stored();
    assert_eq!(ward.memory.payloads(), [message("A1")]);
    let provenance = &stored[0].provenance;
    assert_eq!(provenance.peer, peer.stream.local_addr().unwrap().to_string());
    assert_eq!((provenance.feed.as_str(), &provenance.format), ("adt", &Format::Hl7v2));
    assert_eq!(provenance.received_at.to_string(), "2026-11-24T08:30:00.000000Z");
    assert_eq!(stored[0].reply.as_deref(), Some(answer.as_bytes()), "the answer given is the answer stored");
    let stats = ward.close().await;
    assert_eq!((stats.frames, stats.accepted, stats.connections_total), (1, 1, 1));
    assert_eq!(stats.bytes, message("A1").len() as u64);
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.stream.set_nodelay(true).unwrap();
    for byte in framed(&message("A1")) {
        peer.write([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(ward.memory.payloads(), [message("A1")]);
    ward.close().await;
}

#[tokio::test]
async fn frames_in_one_write_are_answered_in_order() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let ids: Vec<String> = (0..500).map(|n| format!("P{n}")).collect();
    let burst: Vec<u8> = ids.iter().flat_map(|id| framed(&message(id))).collect();
    peer.write(burst).await;
    for id in &ids {
        assert_eq!(peer.msa().await, format!("MSA|AA|{id}"));
    }
    assert_eq!(ward.memory.payloads(), ids.iter().map(|id| message(id)).collect::<Vec<_>>());
    ward.close().await;
}

#[tokio::test]
async fn commits_of_a_connection_run_side_by_side_up_to_the_limit() {
    let ward = Ward::open(Memory::gated());
    let mut peer = ward.peer().await;
    let ids: Vec<String> = (0..3 * PIPELINE_MAX).map(|n| format!("P{n}")).collect();
    let burst: Vec<u8> = ids.iter().flat_map(|id| framed(&message(id))).collect();
    peer.write(burst).await;
    // None has been answered, and yet many are on their way: one sync can serve them all.
    ward.memory.begun(u32::try_from(PIPELINE_MAX / 2).unwrap()).await;
    peer.silence().await;
    assert!(ward.memory.writers() <= PIPELINE_MAX + 2, "{} frames wait", ward.memory.writers());
    ward.memory.open_gate();
    for id in &ids {
        assert_eq!(peer.msa().await, format!("MSA|AA|{id}"));
    }
    ward.close().await;
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let ward = Ward::open(Memory::gated());
    let mut peer = ward.peer().await;
    peer.write(framed(&message("A1"))).await;
    ward.memory.begun(1).await;
    peer.silence().await;
    assert!(ward.memory.stored().is_empty());
    ward.memory.open_gate();
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    ward.close().await;
}

#[tokio::test]
async fn an_identical_resend_gets_the_stored_answer() {
    let ward = Ward::open(Memory::new());
    let mut first = ward.peer().await;
    first.write(framed(&message("A1"))).await;
    let answer = first.answer().await.unwrap();
    // Also on another connection.
    let mut again = ward.peer().await;
    again.write(framed(&message("A1"))).await;
    assert_eq!(again.answer().await.unwrap(), answer);
    // The same id with another body is another message.
    let other = message("A1").replace("100^^^WEST", "200^^^WEST");
    again.write(framed(&other)).await;
    let other_answer = again.answer().await.unwrap();
    assert_ne!(other_answer, answer);
    assert_eq!(msa(&other_answer), "MSA|AA|A1");
    // When the stored answer is gone, a new one is as good.
    ward.memory.forget_replies();
    again.write(framed(&message("A1"))).await;
    assert_eq!(again.msa().await, "MSA|AA|A1");
    let stats = ward.close().await;
    assert_eq!((stats.frames, stats.accepted, stats.duplicates), (4, 2, 2));
}

#[tokio::test]
async fn a_peer_that_closes_its_side_still_gets_its_answers() {
    let ward = Ward::open(Memory::gated());
    let mut peer = ward.peer().await;
    let mut burst = [framed(&message("A1")), framed(&message("A2"))].concat();
    burst.pop(); // and the last CR is lost
    peer.write(burst).await;
    peer.stream.shutdown().await.unwrap();
    ward.memory.begun(2).await;
    ward.memory.open_gate();
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(peer.msa().await, "MSA|AA|A2");
    peer.closed().await;
    ward.close().await;
}

#[tokio::test]
async fn a_large_message_streams_through() {
    let ward = Ward::open(Memory::new());
    let mut client = ward.client().await;
    let large = format!("{}OBX|2|ED|x||^^^Base64^{}\r", message("BIG"), "QUJD".repeat(5 << 20));
    let answer = client.send(large.as_bytes()).await.unwrap();
    assert!(answer.code().is_positive());
    assert_eq!(ward.memory.stored()[0].payload, large.as_bytes());
    ward.close().await;
}

#[tokio::test]
async fn the_sender_s_ways_are_taken() {
    let ward = Ward::open(Memory::new());
    let mut client = ward.client().await;
    let latin1 = b"MSH|^~\\&|LAB|W|EHR|M|2026||ORU^R01|L1|P|2.3||||||8859/1\rPID|1||1||M\xfcller\r";
    let answer = client.send(latin1).await.unwrap();
    assert_eq!(answer.message().get(&"MSH-18".parse().unwrap()), Some(&b"8859/1"[..]));
    for (payload, id) in [
        (message("LF").replace('\r', "\n"), "LF"),
        (message("FS").replace("100^^^WEST", "10\u{1c}0"), "FS"),
        ("MSH#*~\\&#LAB#W#EHR#M#2026##ADT*A01#HASH#P#2.4\rPID#1##7*\r".to_owned(), "HASH"),
        (format!("\u{feff}{}", message("BOM")), "BOM"),
        ("MSH|^~\\&|LAB|W|EHR|M|2026||ZZZ^Z99|ZZZ|P|2.5\rZ01|1\r".to_owned(), "ZZZ"),
    ] {
        let answer = client.send(payload.as_bytes()).await;
        let message = ward.memory.stored().pop().unwrap();
        assert_eq!(message.payload, payload.as_bytes(), "{id}");
        match answer {
            Ok(answer) => assert_eq!((answer.code().as_str(), answer.control_id()), ("AA", id.as_bytes())),
            Err(error) => panic!("{id}: {error}"),
        }
    }
    assert!(formats(&ward.memory.stored()).iter().all(|f| *f == Format::Hl7v2));
    assert_eq!(ward.close().await.accepted, 6);
}

#[tokio::test]
async fn many_connections_at_once() {
    let ward = Ward::open(Memory::new());
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(ward.client().await);
    }
    let sending = clients.iter_mut().enumerate().map(|(n, client)| async move {
        for m in 0..20 {
            let id = format!("C{n}M{m}");
            assert_eq!(client.send(message(&id).as_bytes()).await.unwrap().control_id(), id.as_bytes());
        }
    });
    futures_util::future::join_all(sending).await;
    assert_eq!(ward.stats().connections, 50);
    assert_eq!(ward.close().await.accepted, 1000);
}

#[tokio::test]
async fn a_stop_finishes_the_frame_in_progress_and_takes_no_other() {
    let ward = Ward::open(Memory::new());
    let mut idle = ward.peer().await;
    let mut busy = ward.peer().await;
    let frame = framed(&message("A1"));
    let (head, tail) = frame.split_at(40);
    busy.write(head).await;
    ward.until("both are served", |s| s.connections == 2).await;
    // The first bytes of the frame have been read.
    while ward.memory.writers() == 0 {
        tokio::task::yield_now().await;
    }
    ward.stop.cancel();
    idle.closed().await;
    busy.write([tail, &framed(&message("A2"))].concat()).await;
    assert_eq!(busy.msa().await, "MSA|AA|A1");
    busy.closed().await;
    assert_eq!(ward.memory.payloads(), [message("A1")]);
    ward.close().await;
}
