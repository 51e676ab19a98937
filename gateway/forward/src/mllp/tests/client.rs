//! The client alone, as `wardgate send` and the simulated hospital use it.

use hl7::exchange::Fault;
use hl7::mllp::frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::receiver::ack;
use super::*;

async fn pair() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(listener.local_addr().unwrap(), PATIENCE, PATIENCE).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (client, stream)
}

async fn frame_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(b"\x1c\r") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0);
        all.extend_from_slice(&buffer[..count]);
    }
    all
}

#[tokio::test]
async fn after_a_time_out_the_connection_is_spent() {
    let (mut client, mut stream) = pair().await;
    assert!(matches!(client.send(&message("A1")).await, Err(ClientError::Timeout(_))));
    stream.write_all(&frame(&ack("AA", "A2"))).await.unwrap();
    assert!(!client.can_send(&message("A2")));
    assert!(matches!(client.send(&message("A2")).await, Err(ClientError::Spent)));
}

#[tokio::test]
async fn what_was_said_before_anything_was_sent_is_a_fault() {
    let (mut client, mut stream) = pair().await;
    stream.write_all(&frame(&ack("AA", "A1"))).await.unwrap();
    stream.readable().await.ok();
    tokio::time::sleep(PATIENCE / 8).await;
    let sent = client.send(&message("A1")).await;
    assert!(matches!(sent, Err(ClientError::Fault(Fault::Unasked))), "{sent:?}");
}

#[tokio::test]
async fn messages_may_be_pipelined_and_answers_come_in_their_order() {
    let (mut client, mut stream) = pair().await;
    assert!(matches!(client.send(b"MSH|^~\\&|\x0b").await, Err(ClientError::Unframeable)));
    client.write(&message("A1")).await.unwrap();
    client.write(&message("A2")).await.unwrap();
    frame_of(&mut stream).await;
    stream.write_all(&[frame(&ack("AA", "A1")), frame(&ack("AR", "A2"))].concat()).await.unwrap();
    assert_eq!(client.answer().await.unwrap().control_id(), b"A1");
    assert_eq!(client.answer().await.unwrap().control_id(), b"A2");
    client.write(&message("A3")).await.unwrap();
    client.write(&message("A4")).await.unwrap();
    stream.write_all(&frame(&ack("AA", "A4"))).await.unwrap();
    let swapped = client.answer().await;
    assert!(matches!(swapped, Err(ClientError::Fault(Fault::OtherMessage))), "{swapped:?}");
}

/// A receiver that refuses a large message early and reads no further must not be taken for one that is silent.
#[tokio::test]
async fn a_refusal_before_the_end_of_a_large_message_is_heard() {
    let large = [&message("A1")[..], b"OBX|1|ED|", &vec![b'A'; 32 << 20], b"\r"].concat();
    for (code, close) in [("AR", false), ("AR", true), ("AA", false)] {
        let (mut client, mut stream) = pair().await;
        let (sent, _kept) = tokio::join!(client.send(&large), async move {
            let mut buffer = [0; 4096];
            stream.read_exact(&mut buffer).await.unwrap();
            stream.write_all(&frame(&ack(code, "A1"))).await.unwrap();
            if close {
                // Said and done: what is still unread makes the kernel reset the connection.
                tokio::time::sleep(PATIENCE / 8).await;
                None
            } else {
                Some(stream)
            }
        });
        match sent {
            Ok(answer) => assert_eq!((answer.code().as_str(), code), ("AR", "AR")),
            Err(ClientError::TooEarly) => {
                assert_eq!(code, "AA", "half a message is not believed to be taken")
            }
            Err(e) => panic!("{code} {close}: {e}"),
        }
        assert!(!client.can_send(&message("A2")), "half a message is on the line");
    }
}

#[tokio::test]
async fn a_large_message_and_its_answer_pass() {
    let large = [&message("A1")[..], b"OBX|1|ED|", &vec![b'A'; 8 << 20], b"\r"].concat();
    let (mut client, mut stream) = pair().await;
    let (sent, got) = tokio::join!(client.send(&large), async {
        let got = frame_of(&mut stream).await;
        stream.write_all(&frame(&ack("AA", "A1"))).await.unwrap();
        got
    });
    sent.unwrap();
    assert!(got == frame(&large));
}
