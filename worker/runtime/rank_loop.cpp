#include "worker/runtime/rank_loop.h"

#include <optional>
#include <utility>
#include <variant>

#include "common/base/error.h"
#include "common/wire/channel.h"
#include "worker/runtime/rank_pulse.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;

// How often a rank that waits for a step looks whether it was abandoned.
constexpr milliseconds kWakeInterval{100};
constexpr milliseconds kFarewellPatience{1'000};

class RankLoop {
 public:
  RankLoop(zmq::context_t& context,
           const RankLoopOptions& options,
           RankExecutor& executor,
           const std::function<void(const std::string&)>& on_abandoned)
      : context_(context),
        options_(options),
        executor_(executor),
        on_abandoned_(on_abandoned),
        channel_(context, options.coordinator) {
    // Results and failures that were sent must leave even when the loop ends.
    channel_.set_linger(kFarewellPatience);
  }

  RankOutcome run() {
    channel_.send(wire::encode(0, hello()));
    for (;;) {
      if (pulse_ && pulse_->is_abandoned()) {
        return {RankExit::kLost, "the replica of this rank is lost"};
      }
      const auto bytes = channel_.receive(pulse_ ? kWakeInterval : options_.coordinator_timeout);
      if (bytes) {
        if (auto outcome = on_frame(wire::decode(*bytes))) return *std::move(outcome);
      } else if (!pulse_) {
        return {RankExit::kLost, "no answer from the coordinator at " + options_.coordinator +
                                     " within " +
                                     std::to_string(options_.coordinator_timeout.count()) + " ms"};
      }
    }
  }

 private:
  wire::Hello hello() const {
    return {options_.job_id,
            options_.token,
            options_.rank,
            options_.tp,
            options_.host,
            executor_.device_name(),
            executor_.checkpoint_digest(),
            executor_.kv_bytes_per_token(),
            executor_.kv_memory_bytes(),
            executor_.is_expert_parallel()};
  }

  std::optional<RankOutcome> on_frame(const wire::Frame& frame) {
    if (const auto* plan = std::get_if<StepPlan>(&frame.message)) {
      run_step(*plan);
    } else if (const auto* welcome = std::get_if<wire::Welcome>(&frame.message)) {
      configure(frame.epoch, *welcome);
    } else if (const auto* goodbye = std::get_if<wire::Goodbye>(&frame.message)) {
      return RankOutcome{exit_of(goodbye->kind), goodbye->reason};
    }
    return std::nullopt;  // a heartbeat, while the other ranks join
  }

  static RankExit exit_of(wire::GoodbyeKind kind) {
    switch (kind) {
      case wire::GoodbyeKind::kShutdown: return RankExit::kShutdown;
      case wire::GoodbyeKind::kRefused: return RankExit::kRefused;
      case wire::GoodbyeKind::kLost: return RankExit::kLost;
    }
    return RankExit::kLost;
  }

  void configure(std::uint64_t epoch, const wire::Welcome& welcome) {
    TESSERA_CHECK_TRANSPORT(!pulse_, "the coordinator welcomed this rank twice");
    pulse_.emplace(context_,
                   RankPulse::Options{options_.coordinator,
                                      {options_.job_id, options_.token, options_.rank},
                                      welcome.heartbeat_interval,
                                      options_.coordinator_timeout},
                   on_abandoned_);
    guarded(epoch, [&] {
      executor_.configure({welcome.page_size, welcome.num_pages, welcome.max_step_rows,
                           welcome.max_model_len, welcome.max_sequences});
    });
    channel_.send(wire::encode(epoch, wire::Ready{}));
  }

  void run_step(const StepPlan& plan) {
    TESSERA_CHECK_TRANSPORT(pulse_.has_value(), "the coordinator sent a step before Welcome");
    guarded(plan.epoch, [&] {
      StepResult result = executor_.run(plan);
      result.epoch = plan.epoch;
      result.step = plan.step;
      result.rank = options_.rank;
      channel_.send(wire::encode(result));
    });
  }

  // The first cause goes to the coordinator before it ends the rank.
  template <typename Work>
  void guarded(std::uint64_t epoch, Work work) {
    try {
      work();
    } catch (const Error& error) {
      channel_.send(wire::encode(epoch, wire::RankFailure{error.code(), error.what()}));
      throw;
    }
  }

  zmq::context_t& context_;
  const RankLoopOptions& options_;
  RankExecutor& executor_;
  const std::function<void(const std::string&)>& on_abandoned_;
  wire::DealerChannel channel_;
  std::optional<RankPulse> pulse_;
};

}  // namespace

RankOutcome run_rank(zmq::context_t& context,
                     const RankLoopOptions& options,
                     RankExecutor& executor,
                     const std::function<void(const std::string& reason)>& on_abandoned) {
  return RankLoop(context, options, executor, on_abandoned).run();
}

}  // namespace tessera
