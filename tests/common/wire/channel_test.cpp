#include "common/wire/channel.h"

#include <gtest/gtest.h>

#include <string>
#include <zmq.hpp>

#include "tests/support/error_matchers.h"

namespace tessera::wire {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{5000};

Received await(RouterChannel& router) {
  zmq::pollitem_t item{router.handle(), 0, ZMQ_POLLIN, 0};
  zmq::poll(&item, 1, kPatience);
  auto received = router.receive();
  EXPECT_TRUE(received.has_value()) << "nothing arrived";
  return received.value_or(Received{});
}

TEST(ChannelTest, CarriesMessagesBothWays) {
  zmq::context_t context;
  RouterChannel router(context, "tcp://127.0.0.1:*");
  DealerChannel dealer(context, router.endpoint());
  const Bytes request = encode(1, Ready{});
  dealer.send(request);
  const Received received = await(router);
  EXPECT_EQ(received.bytes, request);

  const Bytes answer = encode(2, Goodbye{GoodbyeKind::kShutdown, "done"});
  EXPECT_EQ(router.send(received.peer, answer), SendOutcome::kSent);
  EXPECT_EQ(dealer.receive(kPatience), answer);
  EXPECT_EQ(dealer.receive(milliseconds(0)), std::nullopt);
}

TEST(ChannelTest, SaysThatAPeerIsGone) {
  zmq::context_t context;
  RouterChannel router(context, "tcp://127.0.0.1:*");
  const Bytes bytes = encode(1, Ready{});
  EXPECT_EQ(router.send("nobody", bytes), SendOutcome::kPeerGone);

  PeerId peer;
  {
    DealerChannel dealer(context, router.endpoint());
    dealer.send(bytes);
    peer = await(router).peer;
  }
  // The closed connection is noticed by ZeroMQ's own thread; a full queue to the peer goes away
  // only when what the peer had sent is read, as the engine thread does in every loop.
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (router.send(peer, bytes) != SendOutcome::kPeerGone) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    router.receive();
  }
}

TEST(ChannelTest, SaysThatAPeerDoesNotRead) {
  zmq::context_t context;
  RouterChannel router(context, "tcp://127.0.0.1:*");
  DealerChannel dealer(context, router.endpoint());
  dealer.send(encode(1, Ready{}));
  const PeerId peer = await(router).peer;
  const Bytes large(std::size_t{1} << 20);
  SendOutcome outcome = SendOutcome::kSent;
  for (int i = 0; i < 2000 && outcome == SendOutcome::kSent; ++i) {
    outcome = router.send(peer, large);
  }
  EXPECT_EQ(outcome, SendOutcome::kPeerSlow);
}

TEST(ChannelTest, ReportsMessagesOfSeveralPartsAsEmpty) {
  zmq::context_t context;
  RouterChannel router(context, "tcp://127.0.0.1:*");
  zmq::socket_t foreign(context, zmq::socket_type::dealer);
  foreign.set(zmq::sockopt::linger, 0);
  foreign.connect(router.endpoint());
  foreign.send(zmq::str_buffer("one"), zmq::send_flags::sndmore);
  foreign.send(zmq::str_buffer("two"));
  EXPECT_TRUE(await(router).bytes.empty());
  const Bytes frame = encode(1, Ready{});
  foreign.send(zmq::buffer(frame.data(), frame.size()));
  EXPECT_EQ(await(router).bytes, frame) << "the next message is whole again";
}

TEST(ChannelTest, NamesAnAddressThatCannotBeUsed) {
  zmq::context_t context;
  EXPECT_ERROR(RouterChannel(context, "tcp://256.0.0.1:80"), kTransport);
  EXPECT_ERROR(DealerChannel(context, "nonsense"), kTransport);
  const RouterChannel router(context, "tcp://127.0.0.1:*");
  EXPECT_ERROR(RouterChannel(context, router.endpoint()), kTransport);
}

}  // namespace
}  // namespace tessera::wire
