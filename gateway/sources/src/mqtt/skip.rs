//! Passing over one publish that is too large to read.
//!
//! The broker sends an unacknowledged publish again at every reconnection. One that exceeds
//! [`PACKET_BYTES_MAX`] would end each connection before anything else arrives. A short connection of the same
//! session reads it past without keeping it, acknowledges that one packet and leaves all others to the next
//! ordinary connection.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::{Connect, Packet, PubAck};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::PACKET_BYTES_MAX;
use super::config::Link;

/// Longest time for all of it, in seconds: 256 MB, the largest MQTT packet, over 100 Mbit/s.
const SKIP_S_MAX: u64 = 30;
/// MQTT 3.1.1 table 2.1.
const PUBLISH: u8 = 3;
const CONNACK: u8 = 2;

/// Connects, passes over one publish that is too large, and disconnects.
pub(super) async fn pass_over_one(link: &Link) -> io::Result<()> {
    let all = async {
        let Link { broker, .. } = link;
        let stream = TcpStream::connect(format!("{}:{}", broker.host, broker.port)).await?;
        match &link.tls {
            None => pass_over(stream, link).await,
            Some(config) => {
                let name = ServerName::try_from(broker.host.clone()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
                pass_over(stream, link).await
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(SKIP_S_MAX), all).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn pass_over<S: AsyncRead + AsyncWrite + Unpin>(stream: S, link: &Link) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut connect = Connect::new(&link.client_id);
    connect.keep_alive = link.keep_alive_s;
    connect.clean_session = false;
    if let Some((username, password)) = &link.login {
        connect.set_login(username, password.as_str());
    }
    write(&mut stream, &[Packet::Connect(connect)]).await?;
    loop {
        let first = stream.read_u8().await?;
        let remaining = remaining_length(&mut stream).await?;
        match first >> 4 {
            PUBLISH if remaining > PACKET_BYTES_MAX as u64 => {
                let topic = u64::from(stream.read_u16().await?);
                discard(&mut stream, topic).await?;
                let has_id = first & 0b110 != 0;
                let id = if has_id { stream.read_u16().await? } else { 0 };
                let read = 2 + topic + if has_id { 2 } else { 0 };
                discard(&mut stream, remaining.checked_sub(read).ok_or(io::ErrorKind::InvalidData)?).await?;
                let goodbye = [Packet::PubAck(PubAck::new(id)), Packet::Disconnect];
                // At QoS 0 it is gone already.
                write(&mut stream, goodbye.get(usize::from(!has_id)..).unwrap_or_default()).await?;
                // The broker closes; closing first, with something unread, could cost the acknowledgement.
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
                return Ok(());
            }
            CONNACK if remaining == 2 => {
                let _session = stream.read_u8().await?;
                if stream.read_u8().await? != 0 {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            }
            _ => discard(&mut stream, remaining).await?,
        }
    }
}

/// MQTT 3.1.1 section 2.2.3: up to four bytes of seven bits, least significant first.
async fn remaining_length<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<u64> {
    let mut length = 0_u64;
    for shift in [0, 7, 14, 21] {
        let byte = stream.read_u8().await?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

async fn discard<S: AsyncRead + Unpin>(stream: &mut S, bytes: u64) -> io::Result<()> {
    let read = tokio::io::copy(&mut stream.take(bytes), &mut tokio::io::sink()).await?;
    if read == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, packets: &[Packet]) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.write(&mut bytes, PACKET_BYTES_MAX).map_err(|_| io::ErrorKind::InvalidInput)?;
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}
