#include <gtest/gtest.h>

#include "coordinator/scheduling/engine.h"
#include "strategies/strategy_registry.h"
#include "tests/coordinator/scheduling/manual_clock.h"
#include "tests/support/hash_executor.h"

namespace tessera {
namespace {

constexpr std::int32_t kPageSize = 32;
constexpr std::int32_t kNumPages = 64;
constexpr std::int32_t kPromptLen = 45;

ModelFacts facts() {
  ModelFacts facts;
  facts.vocab_size = 128;
  facts.tokenizer_size = 120;
  facts.mask_id = 119;
  facts.eos_ids = {118};
  facts.block_size = 4;
  return facts;
}

/// Totals of the plans of one request, by another way than the engine's.
struct PlanTotals {
  std::uint64_t rows = 0;
  std::uint64_t measures = 0;
  EngineStats stats;
};

PlanTotals run_one_request(const StrategyEntry& entry, std::int32_t max_step_rows) {
  const ManualClock clock;
  EngineOptions options;
  options.page_size = kPageSize;
  options.max_step_rows = max_step_rows;
  Engine engine(options, clock);
  engine.add_replica(0, 1, kNumPages);
  HashExecutor executor(facts(), 5, kPageSize, kNumPages);
  SequenceRequest request;
  request.id = 1;
  request.prompt.assign(kPromptLen, 7);
  request.strategy = create_strategy(entry.name, facts(), {{"buffer_size", std::int64_t{2}}});
  request.limits.max_tokens = 60;
  request.limits.max_model_len = 256;
  engine.submit(std::move(request));
  PlanTotals totals;
  while (const auto plan = engine.next_step(0)) {
    for (const SequenceSpan& sequence : plan->spans) {
      totals.rows += static_cast<std::uint64_t>(sequence.span.num_rows());
      totals.measures += sequence.span.measures.size();
    }
    engine.apply(0, executor.run(*plan));
  }
  totals.stats = engine.stats();
  return totals;
}

TEST(RowCountsTest, EveryRowIsOfThePromptMaskedOrDecided) {
  for (const std::int32_t max_step_rows : {512, 16}) {
    const PlanTotals totals = run_one_request(strategy_registry().front(), max_step_rows);
    const EngineStats& stats = totals.stats;
    EXPECT_EQ(stats.rows_prompt, static_cast<std::uint64_t>(kPromptLen));
    EXPECT_EQ(stats.rows_masked, totals.measures) << "an unshifted model measures masked rows";
    EXPECT_EQ(stats.rows_prompt + stats.rows_masked + stats.rows_decided, totals.rows);
    EXPECT_GT(stats.rows_decided, 0u) << "blocks are stored after they are filled";
    EXPECT_GE(stats.rows_buffer, stats.rows_masked + stats.rows_decided);
  }
}

}  // namespace
}  // namespace tessera
