#include "common/wire/channel.h"

#include <cerrno>
#include <utility>

#include "common/base/error.h"

namespace tessera::wire {
namespace {

// A replica has one step outstanding, so that a queue this long means a peer that does not read.
constexpr int kHighWaterMark = 256;

// A machine that is gone, or cut off, closes no connection: it stops to acknowledge. Its kernel
// does that for a process that is stopped or starved, too, so this tells the two apart. Something
// is always on its way: heartbeats.
constexpr int kUnacknowledgedMs = 800;

void set_limits(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, kHighWaterMark);
  socket.set(zmq::sockopt::rcvhwm, kHighWaterMark);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMaxFrameBytes));
}

Bytes bytes_of(const zmq::message_t& message) {
  const auto* begin = static_cast<const std::byte*>(message.data());
  return {begin, begin + message.size()};
}

// The parts after the first one of a message; empty unless there is exactly one.
Bytes receive_body(zmq::socket_t& socket, bool more) {
  Bytes body;
  int parts = 0;
  while (more) {
    zmq::message_t part;
    if (!socket.recv(part, zmq::recv_flags::dontwait)) break;
    more = part.more();
    if (++parts == 1) body = bytes_of(part);
  }
  if (parts != 1) body.clear();
  return body;
}

}  // namespace

RouterChannel::RouterChannel(zmq::context_t& context, const std::string& endpoint)
    : socket_(context, zmq::socket_type::router) {
  set_limits(socket_);
  // Sending to a closed connection is an error that says so, not a silent drop.
  socket_.set(zmq::sockopt::router_mandatory, true);
  socket_.set(zmq::sockopt::tcp_maxrt, kUnacknowledgedMs);
  try {
    socket_.bind(endpoint);
  } catch (const zmq::error_t& error) {
    throw Error(ErrorCode::kTransport,
                "cannot listen for ranks on " + endpoint + ": " + error.what());
  }
  endpoint_ = socket_.get(zmq::sockopt::last_endpoint);
}

SendOutcome RouterChannel::send(const PeerId& peer, std::span<const std::byte> bytes) {
  try {
    if (!socket_.send(zmq::buffer(peer), zmq::send_flags::sndmore | zmq::send_flags::dontwait)) {
      return SendOutcome::kPeerSlow;
    }
    if (!socket_.send(zmq::buffer(bytes.data(), bytes.size()), zmq::send_flags::dontwait)) {
      return SendOutcome::kPeerSlow;
    }
  } catch (const zmq::error_t& error) {
    if (error.num() == EHOSTUNREACH) return SendOutcome::kPeerGone;
    throw Error(ErrorCode::kTransport, std::string("cannot send to a rank: ") + error.what());
  }
  return SendOutcome::kSent;
}

std::optional<Received> RouterChannel::receive() {
  zmq::message_t peer;
  if (!socket_.recv(peer, zmq::recv_flags::dontwait)) return std::nullopt;
  return Received{peer.to_string(), receive_body(socket_, peer.more())};
}

void RouterChannel::set_linger(std::chrono::milliseconds patience) {
  socket_.set(zmq::sockopt::linger, static_cast<int>(patience.count()));
}

DealerChannel::DealerChannel(zmq::context_t& context, const std::string& endpoint)
    : socket_(context, zmq::socket_type::dealer) {
  set_limits(socket_);
  try {
    socket_.connect(endpoint);
  } catch (const zmq::error_t& error) {
    throw Error(ErrorCode::kTransport, "cannot connect to the coordinator at " + endpoint + ": " +
                                           error.what() + "; expected tcp://HOST:PORT");
  }
}

void DealerChannel::send(std::span<const std::byte> bytes) {
  const auto sent =
      socket_.send(zmq::buffer(bytes.data(), bytes.size()), zmq::send_flags::dontwait);
  TESSERA_CHECK_TRANSPORT(sent.has_value(), "the coordinator does not read: ", kHighWaterMark,
                          " messages wait for it");
}

std::optional<Bytes> DealerChannel::receive(std::chrono::milliseconds patience) {
  zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
  zmq::poll(&item, 1, patience);
  zmq::message_t first;
  if (!socket_.recv(first, zmq::recv_flags::dontwait)) return std::nullopt;
  if (!first.more()) return bytes_of(first);
  receive_body(socket_, /*more=*/true);
  return Bytes{};
}

void DealerChannel::set_linger(std::chrono::milliseconds patience) {
  socket_.set(zmq::sockopt::linger, static_cast<int>(patience.count()));
}

}  // namespace tessera::wire
