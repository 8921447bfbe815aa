// What a step of one sequence costs its strategy: plan and apply, for every strategy of the
// registry and each of its presets. No model: measurements are made up beforehand and fed back.
//
//     strategy_benchmark [--benchmark_filter='edit/.*']
//
// The time is that of a step, the mean over a whole sequence of 64 + 256 tokens.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "strategies/strategy_registry.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int32_t kPromptLen = 64;
constexpr std::int32_t kMaxTokens = 256;

// The sizes of published models.
ModelFacts facts() {
  ModelFacts facts;
  facts.vocab_size = 151936;
  facts.tokenizer_size = 151670;
  facts.mask_id = 151669;
  facts.canvas_length = 256;
  return facts;
}

Sequence start(const Strategy& strategy) {
  SequenceLimits limits;
  limits.max_tokens = kMaxTokens;
  limits.max_model_len = kPromptLen + kMaxTokens;
  return strategy.start(std::vector<TokenId>(kPromptLen, 7), {}, limits, /*cached_len=*/0);
}

// A network that soon knows its mind: the choice of a position stays, confidences scatter, and
// entropies fall with the steps.
std::vector<Measurement> make_up(const Span& span, std::mt19937& rng) {
  std::uniform_real_distribution<float> share(0.01F, 1.0F);
  std::vector<Measurement> measurements;
  for (const Measure& measure : span.measures) {
    Measurement m;
    m.position = measure.position;
    m.token = m.greedy_token = 100 + measure.position;
    m.confidence = m.plain_confidence = share(rng);
    m.entropy = share(rng) / static_cast<float>(1 + measure.denoising_step);
    measurements.push_back(std::move(m));
  }
  return measurements;
}

using Steps = std::vector<std::vector<Measurement>>;

// The measurements of every step of one sequence.
Steps record(const Strategy& strategy) {
  std::mt19937 rng(/*seed=*/1);
  Steps steps;
  for (Sequence sequence = start(strategy); !sequence.finish;) {
    const Span span = strategy.plan(sequence);
    steps.push_back(make_up(span, rng));
    strategy.apply(sequence, span, steps.back());
  }
  return steps;
}

void run(benchmark::State& state, const std::shared_ptr<const Strategy>& strategy) {
  using SteadyClock = std::chrono::steady_clock;
  const Steps steps = record(*strategy);
  for (auto _ : state) {
    Sequence sequence = start(*strategy);
    const auto begin = SteadyClock::now();
    for (const auto& measurements : steps) {
      const Span span = strategy->plan(sequence);
      benchmark::DoNotOptimize(strategy->apply(sequence, span, measurements));
    }
    const std::chrono::duration<double> elapsed = SteadyClock::now() - begin;
    state.SetIterationTime(elapsed.count() / static_cast<double>(steps.size()));
  }
  std::size_t measured = 0;
  for (const auto& measurements : steps) measured += measurements.size();
  state.counters["steps"] = static_cast<double>(steps.size());
  state.counters["measured/step"] =
      static_cast<double>(measured) / static_cast<double>(steps.size());
}

void register_all() {
  for (const StrategyEntry& entry : strategy_registry()) {
    for (std::size_t i = 0; i < kPresetNames.size(); ++i) {
      const std::shared_ptr<const Strategy> strategy =
          create_strategy(entry.name, facts(), entry.presets[i]);
      const std::string name = std::string(entry.name) + "/" + std::string(kPresetNames[i]);
      benchmark::RegisterBenchmark(name.c_str(), run, strategy)
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  tessera::benchmarks::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
