#include "benchmarks/serving/phase_times.h"

#include <chrono>
#include <variant>

#include "benchmarks/serving/zero_layer_executor.h"
#include "common/base/error.h"
#include "common/wire/codec.h"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Runs `work` and appends the microseconds it took.
template <typename Work>
auto timed(std::vector<double>& times, Work work) {
  const auto begin = SteadyClock::now();
  auto result = work();
  times.push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count());
  return result;
}

void run_step(Engine& engine, PhaseTimes& times) {
  const auto plan = timed(times.schedule, [&] { return engine.next_step(0); });
  TESSERA_CHECK(plan.has_value(), "the engine has nothing to do");
  const wire::Bytes plan_bytes = timed(times.encode, [&] { return wire::encode(*plan); });
  const wire::Frame plan_frame = timed(times.decode, [&] { return wire::decode(plan_bytes); });
  const StepResult result = zero_layer_result(std::get<StepPlan>(plan_frame.message));
  const wire::Bytes bytes = timed(times.encode_result, [&] { return wire::encode(result); });
  const wire::Frame frame = timed(times.decode_result, [&] { return wire::decode(bytes); });
  timed(times.apply, [&] {
    engine.apply(0, std::get<StepResult>(frame.message));
    return engine.take_updates().size();
  });
  times.frame_bytes += static_cast<double>(plan_bytes.size());
}

}  // namespace

PhaseTimes measure_phases(const OverheadLoad& load) {
  const SystemClock clock;
  Engine engine(load.engine_options(), clock);
  engine.add_replica(0, 1, load.num_pages());
  const auto strategy = load.strategy();
  for (std::int32_t i = 1; i <= load.num_requests; ++i) {
    engine.submit(load.request(static_cast<RequestId>(i), strategy));
  }
  PhaseTimes prefill;
  const auto num_decode_forwards = [&] {
    return engine.stats().forwards_denoise + engine.stats().forwards_store_only;
  };
  for (std::uint64_t before = 0, grown = 0;
       grown < static_cast<std::uint64_t>(load.num_requests);) {
    before = num_decode_forwards();
    run_step(engine, prefill);
    grown = num_decode_forwards() - before;
  }
  PhaseTimes times;
  for (std::int32_t step = 0; step < load.num_steps; ++step) run_step(engine, times);
  times.frame_bytes /= load.num_steps;
  engine.fail_all({FailureReason::kCancelled, "measured"});
  engine.remove_replica(0);
  return times;
}

}  // namespace tessera
