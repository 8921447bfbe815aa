#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <zmq.hpp>

#include "common/wire/codec.h"

namespace tessera::wire {

/// Name ZeroMQ gives to one connection of a rank; a rank that reconnects has another one.
using PeerId = std::string;

enum class SendOutcome : std::uint8_t {
  kSent,
  kPeerGone,  ///< The connection is closed.
  kPeerSlow,  ///< The peer does not read: its queue is full. Nothing was sent.
};

/// A message as it came in; `bytes` is empty if it was not one frame.
struct Received {
  PeerId peer;
  Bytes bytes;
};

/// The coordinator's end: one ROUTER socket that all ranks connect to. Owned by one thread; no
/// call blocks. A connection closes with the peer's process, and when the peer's machine has not
/// acknowledged for 0.8 s what was sent to it; a peer that merely does not run keeps it open.
class RouterChannel {
 public:
  /// @param endpoint  tcp://HOST:PORT (port `*`: any free one) or ipc://PATH.
  /// @throws Error{kTransport} naming the endpoint if it cannot be bound.
  RouterChannel(zmq::context_t& context, const std::string& endpoint);

  /// Address with the port that was chosen.
  const std::string& endpoint() const noexcept { return endpoint_; }

  [[nodiscard]] SendOutcome send(const PeerId& peer, std::span<const std::byte> bytes);

  /// The next message; none when there is none now.
  std::optional<Received> receive();

  /// For zmq::poll.
  void* handle() { return socket_.handle(); }

  /// Waits up to `patience` for sent messages to leave when the channel closes; else they are
  /// dropped.
  void set_linger(std::chrono::milliseconds patience);

 private:
  zmq::socket_t socket_;
  std::string endpoint_;
};

/// A rank's end: a DEALER socket. Owned by one thread.
class DealerChannel {
 public:
  /// Connects in the background; messages wait until the peer is there.
  /// @throws Error{kTransport} if the endpoint is not an address.
  DealerChannel(zmq::context_t& context, const std::string& endpoint);

  /// @throws Error{kTransport} if the queue is full, which means that the coordinator has not
  ///         read for long.
  void send(std::span<const std::byte> bytes);

  /// Waits up to `patience` for a message; none if none came. Empty bytes: it was not one frame.
  std::optional<Bytes> receive(std::chrono::milliseconds patience);

  /// As in RouterChannel.
  void set_linger(std::chrono::milliseconds patience);

 private:
  zmq::socket_t socket_;
};

}  // namespace tessera::wire
