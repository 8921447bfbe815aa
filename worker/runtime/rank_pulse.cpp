#include "worker/runtime/rank_pulse.h"

#include <utility>

#include "common/base/error.h"
#include "common/wire/channel.h"

namespace tessera {

using SteadyClock = std::chrono::steady_clock;

RankPulse::RankPulse(zmq::context_t& context,
                     Options options,
                     std::function<void(const std::string&)> on_abandoned)
    : options_(std::move(options)),
      on_abandoned_(std::move(on_abandoned)),
      thread_([this, &context] { run(context); }) {}

RankPulse::~RankPulse() {
  is_stopping_.store(true);
  thread_.join();
}

void RankPulse::run(zmq::context_t& context) {
  std::string why;
  try {
    why = beat(context);
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (why.empty()) return;
  is_abandoned_.store(true);
  on_abandoned_(why);
}

// Why the rank must leave; empty when it was told to stop.
std::string RankPulse::beat(zmq::context_t& context) {
  wire::DealerChannel channel(context, options_.coordinator);
  const wire::Bytes heartbeat = wire::encode(0, options_.heartbeat);
  auto last_heard = SteadyClock::now();
  auto next_beat = last_heard;
  while (!is_stopping_.load()) {
    const auto now = SteadyClock::now();
    if (now >= next_beat) {
      channel.send(heartbeat);
      next_beat = now + options_.interval;
    }
    // Short waits, so that stopping takes no longer than one of them.
    const auto bytes = channel.receive(std::min(options_.interval, std::chrono::milliseconds(50)));
    if (bytes) {
      last_heard = SteadyClock::now();
      const wire::Frame frame = wire::decode(*bytes);
      if (const auto* goodbye = std::get_if<wire::Goodbye>(&frame.message)) return goodbye->reason;
    } else if (SteadyClock::now() - last_heard > options_.coordinator_timeout) {
      return detail::concat("the coordinator is silent for more than ",
                            options_.coordinator_timeout.count(), " ms");
    }
  }
  return {};
}

}  // namespace tessera
