#include "coordinator/scheduling/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/scheduling/engine_driver.h"
#include "tests/support/error_matchers.h"

// Rules of the scheduler one by one; engine_simulation_test has them all at once.
namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

EngineOptions options_of(std::int32_t page_size = 4) {
  EngineOptions options;
  options.page_size = page_size;
  options.max_step_rows = 64;
  options.vocab_size = 48;
  return options;
}

std::vector<RequestId> ids_of(const std::optional<StepPlan>& plan) {
  return plan ? EngineDriver::ids_of(*plan) : std::vector<RequestId>{};
}

TEST(EngineTest, NothingIsAdmittedBeyondTheCapAndTheRunningSetIsTheStep) {
  EngineOptions options = options_of();
  options.max_running_requests = 2;
  EngineDriver driver(options, 100);
  for (RequestId id = 1; id <= 4; ++id) driver.engine.submit(driver.request(id, 6, 40));
  for (int step = 0; step < 5; ++step) EXPECT_THAT(ids_of(driver.step()), ElementsAre(1, 2));
  EXPECT_EQ(driver.engine.stats().num_waiting, 2);
  driver.engine.cancel(1);
  EXPECT_THAT(ids_of(driver.step()), ElementsAre(2, 3)) << "one slot, the oldest that waits";
  EXPECT_EQ(driver.engine.stats().num_waiting, 1);
}

TEST(EngineTest, HigherPriorityRunsFirstAndEqualsInOrderOfArrival) {
  EngineOptions options = options_of();
  options.max_running_requests = 1;
  EngineDriver driver(options, 100);
  std::vector<RequestId> order;
  for (RequestId id = 1; id <= 4; ++id) {
    SequenceRequest request = driver.request(id, 4, 4);
    request.priority = id == 3 ? 5 : 0;
    driver.engine.submit(std::move(request));
  }
  while (const auto plan = driver.step()) {
    if (order.empty() || order.back() != ids_of(plan).front()) order.push_back(ids_of(plan)[0]);
  }
  EXPECT_THAT(order, ElementsAre(3, 1, 2, 4));
}

// Each of the three grows to 8 pages; 14 are there. Whoever needs one takes it from the lowest
// priority, then the newest, who goes on later with the same text.
TEST(EngineTest, ThePreemptedIsTheLowestPriorityThenTheNewestAndLosesNothing) {
  std::vector<std::vector<TokenId>> alone;
  std::vector<std::int32_t> num_steps;
  for (RequestId id = 1; id <= 3; ++id) {
    EngineDriver driver(options_of(), 100);
    driver.engine.submit(driver.request(id, 8, 24, 1, static_cast<std::int32_t>(id)));
    driver.run_until_idle();
    alone.push_back(driver.tokens(id));
    num_steps.push_back(driver.last(id)->num_steps);
  }
  EngineDriver driver(options_of(), 14);
  for (RequestId id = 1; id <= 3; ++id) {
    SequenceRequest request = driver.request(id, 8, 24, 1, static_cast<std::int32_t>(id));
    request.priority = id == 1 ? -1 : 0;
    driver.engine.submit(std::move(request));
  }
  driver.run_until_idle();
  EXPECT_GT(driver.engine.stats().preemptions, 0U);
  EXPECT_GT(driver.last(1)->usage.num_preemptions, 0) << "lowest priority";
  EXPECT_EQ(driver.last(2)->usage.num_preemptions, 0) << "oldest of the highest priority";
  for (RequestId id = 1; id <= 3; ++id) {
    EXPECT_EQ(driver.tokens(id), alone[id - 1]);
    EXPECT_EQ(driver.last(id)->num_steps, num_steps[id - 1]) << "rebuilds do not count";
  }
}

TEST(EngineTest, AnImpossibleRequestIsRefusedAloneAndSaysWhy) {
  EngineDriver driver(options_of(), 5);  // 20 tokens
  driver.engine.submit(driver.request(1, 8, 8));
  driver.engine.submit(driver.request(2, 8, 13));
  driver.engine.submit(driver.request(3, 8, 12));
  ASSERT_NE(driver.last(2), nullptr);
  EXPECT_EQ(driver.last(2)->failure->reason, FailureReason::kInvalid);
  EXPECT_THAT(driver.last(2)->failure->message, HasSubstr("only 20 are there"));
  driver.run_until_idle();
  EXPECT_TRUE(driver.last(1)->finish.has_value());
  EXPECT_EQ(driver.tokens(3).size(), 12U) << "it just fits";
}

// Ranks have room for so many rows of a step. A buffer cannot be cut.
TEST(EngineTest, ABufferThatTheRanksHaveNoRoomForIsRefused) {
  EngineOptions options = options_of();
  options.max_step_rows = 16;
  EngineDriver driver(options, 100);
  driver.engine.submit(driver.request(1, 30, 40, /*buffer_size=*/4));
  driver.engine.submit(driver.request(2, 30, 40, /*buffer_size=*/5));
  ASSERT_NE(driver.last(2), nullptr);
  EXPECT_EQ(driver.last(2)->failure->reason, FailureReason::kInvalid);
  EXPECT_THAT(driver.last(2)->failure->message, HasSubstr("20 rows"));
  while (const auto plan = driver.step()) {
    std::int32_t rows = 0;
    for (const SequenceSpan& span : plan->spans) rows += span.span.num_rows();
    ASSERT_LE(rows, 16);
  }
  EXPECT_EQ(driver.tokens(1).size(), 40U);
}

TEST(EngineTest, BeyondTheQueueSubmissionsFailAndThePreemptedStillReturn) {
  EngineOptions options = options_of();
  options.max_running_requests = 1;
  options.max_waiting_requests = 1;
  EngineDriver driver(options, 100);
  driver.engine.submit(driver.request(1, 4, 8));
  driver.step();
  EXPECT_FALSE(driver.engine.refusal());
  driver.engine.submit(driver.request(2, 4, 8));
  ASSERT_TRUE(driver.engine.refusal());
  EXPECT_EQ(driver.engine.refusal()->reason, FailureReason::kQueueFull);
  driver.engine.submit(driver.request(3, 4, 8));
  ASSERT_NE(driver.last(3), nullptr);
  EXPECT_EQ(driver.last(3)->failure->reason, FailureReason::kQueueFull);
  driver.engine.remove_replica(0);
  EXPECT_EQ(driver.engine.stats().num_waiting, 2) << "the queue's limit is for new requests";
}

TEST(EngineTest, CancellingFreesThePagesAtOnceEvenWhileAStepRuns) {
  EngineDriver driver(options_of(), 100);
  driver.engine.submit(driver.request(1, 40, 40));
  driver.step();
  const auto outstanding = driver.engine.next_step(0);
  ASSERT_TRUE(outstanding.has_value());
  EXPECT_GT(driver.engine.stats().replicas[0].pages_active, 0);
  driver.engine.cancel(1);
  EXPECT_EQ(driver.engine.stats().replicas[0].pages_active, 0);
  EXPECT_EQ(driver.last(1)->failure->reason, FailureReason::kCancelled);
  driver.engine.check_integrity();
}

TEST(EngineTest, ADeadlineEndsARequestWhetherItWaitsOrRuns) {
  EngineOptions options = options_of();
  options.max_running_requests = 1;
  EngineDriver driver(options, 100);
  for (RequestId id = 1; id <= 3; ++id) {
    SequenceRequest request = driver.request(id, 4, 200);
    if (id < 3) request.deadline = driver.clock.now() + std::chrono::seconds(1);
    driver.engine.submit(std::move(request));
  }
  driver.step();
  EXPECT_EQ(driver.engine.next_deadline(), driver.clock.now() + std::chrono::seconds(1));
  driver.clock.advance(std::chrono::milliseconds(999));
  driver.engine.expire();
  EXPECT_EQ(driver.last(1), nullptr);
  driver.clock.advance(std::chrono::milliseconds(1));
  driver.engine.expire();
  for (RequestId id = 1; id <= 2; ++id) {
    EXPECT_EQ(driver.last(id)->failure->reason, FailureReason::kDeadlineExceeded);
  }
  EXPECT_FALSE(driver.engine.next_deadline().has_value());
  EXPECT_THAT(ids_of(driver.step()), ElementsAre(3));
}

TEST(EngineTest, ALongPromptDoesNotStallTheOthers) {
  EngineOptions options = options_of();
  options.max_step_rows = 24;
  EngineDriver driver(options, 200);
  driver.engine.submit(driver.request(1, 4, 40));
  driver.step();
  driver.engine.submit(driver.request(2, 400, 8, 1, /*flavour=*/1));
  int steps = 0;
  for (; !driver.last(2); ++steps) {
    const auto plan = driver.step();
    ASSERT_TRUE(plan.has_value());
    ASSERT_TRUE(driver.last(1) || ids_of(plan).front() == 1);
  }
  EXPECT_GT(steps, 400 / 24);
  EXPECT_LE(driver.last(2)->num_steps, 8 + 4) << "chunks do not count";
}

TEST(EngineTest, MaxNfeEndsARequestAfterThatManyStepsAndFreesItsPages) {
  EngineDriver driver(options_of(), 100);
  SequenceRequest request = driver.request(1, 6, 200);
  request.limits.max_nfe = 2;
  driver.engine.submit(std::move(request));
  driver.step();
  EXPECT_EQ(driver.last(1), nullptr);
  driver.step();
  ASSERT_NE(driver.last(1), nullptr);
  EXPECT_EQ(driver.last(1)->finish, FinishReason::kMaxNfe);
  EXPECT_EQ(driver.engine.stats().replicas[0].pages_active, 0);
  EXPECT_TRUE(driver.engine.is_idle());
}

// engine_spec 10.4, 32 and 33: what was computed is found again, in whole pages.
TEST(EngineTest, AResubmittedPromptIsNotComputedAgain) {
  for (const auto& [page_size, prompt_len] : {std::pair{32, 64}, {8, 16}, {8, 20}}) {
    EngineDriver driver(options_of(page_size), 100);
    driver.engine.submit(driver.request(1, prompt_len, 4));
    driver.run_until_idle();
    driver.engine.submit(driver.request(2, prompt_len, 4));
    const auto plan = driver.step();
    const std::int32_t cached = prompt_len / page_size * page_size;
    EXPECT_EQ(plan->spans[0].span.first, cached);
    EXPECT_EQ(plan->spans[0].span.cache_len, cached);
    driver.run_until_idle();
    EXPECT_EQ(driver.last(2)->usage.cached_tokens, cached);
    EXPECT_EQ(driver.tokens(2), driver.tokens(1));
  }
}

// 37: the next turn of a conversation finds the answer's pages too.
TEST(EngineTest, GeneratedBlocksAreReusedByAFollowUpPrompt) {
  EngineDriver driver(options_of(), 100);
  const SequenceRequest first = driver.request(1, 10, 30);
  driver.engine.submit(first);
  driver.run_until_idle();
  SequenceRequest next = driver.request(2, 10, 8);
  const auto& answer = driver.tokens(1);
  next.prompt.insert(next.prompt.end(), answer.begin(), answer.end());
  next.prompt.push_back(3);
  driver.engine.submit(next);
  driver.run_until_idle();
  // The last block of the answer ended the request before it was stored.
  EXPECT_GE(driver.last(2)->usage.cached_tokens, 36);
}

// 38: rows begin behind the cached prefix; positions, page table and stores with them.
TEST(EngineTest, ARequestWithACachedPrefixForwardsTheRestOfItsRows) {
  EngineDriver driver(options_of(), 100);
  driver.engine.submit(driver.request(1, 8, 1));
  driver.run_until_idle();
  driver.engine.submit(driver.request(2, 20, 4));
  const auto plan = driver.step();
  const Span& span = plan->spans[0].span;
  EXPECT_EQ(span.first, 8);
  EXPECT_EQ(span.end(), 20) << "an aligned prompt measures nothing in its first step";
  EXPECT_EQ(span.cache_len, 8);
  EXPECT_THAT(span.stores, ElementsAre(PositionRange{8, 20}));
  ASSERT_EQ(plan->page_table_deltas.size(), 1U);
  EXPECT_EQ(plan->page_table_deltas[0].pages.size(), 5U);
}

// 44: requests that wait for prompts of different cached lengths share a step.
TEST(EngineTest, PromptsWithDifferentCachedPrefixesShareAStep) {
  EngineDriver driver(options_of(), 100);
  driver.engine.submit(driver.request(1, 12, 1));
  driver.run_until_idle();
  driver.engine.submit(driver.request(2, 16, 4));
  driver.engine.submit(driver.request(3, 9, 4, 1, /*flavour=*/2));
  const auto plan = driver.step();
  ASSERT_THAT(ids_of(plan), ElementsAre(2, 3));
  EXPECT_EQ(plan->spans[0].span.first, 12);
  EXPECT_EQ(plan->spans[1].span.first, 0);
}

// 42: every block size that divides the page, and no other.
TEST(EngineTest, ABlockMustDivideThePage) {
  EngineDriver driver(options_of(/*page_size=*/6), 100);
  driver.engine.submit(driver.request(1, 4, 4));
  ASSERT_NE(driver.last(1), nullptr);
  EXPECT_THAT(driver.last(1)->failure->message, HasSubstr("does not divide the page size of 6"));
}

TEST(EngineTest, AResultThatDoesNotFitThePlanCostsTheReplica) {
  const auto breakages = {
      +[](StepResult& result) { result.spans.clear(); },
      +[](StepResult& result) { result.spans[0].request = 77; },
      +[](StepResult& result) { result.spans[0].measurements.pop_back(); },
      +[](StepResult& result) { result.spans[0].measurements[0].token = 48; },
      +[](StepResult& result) { result.spans[0].measurements[0].token = -1; },
      +[](StepResult& result) { ++result.spans[0].measurements[0].position; },
  };
  for (const auto& damage : breakages) {
    EngineDriver driver(options_of(), 100);
    HashExecutor executor(driver.facts(), 9, 4, 100);
    driver.engine.submit(driver.request(1, 6, 8));
    StepResult result = executor.run(*driver.engine.next_step(0));
    ASSERT_FALSE(result.spans[0].measurements.empty());
    damage(result);
    EXPECT_ERROR(driver.engine.apply(0, result), kTransport);
  }
}

TEST(EngineTest, ResultsOfAnotherEpochOrStepAreDropped) {
  EngineDriver driver(options_of(), 100);
  HashExecutor executor(driver.facts(), 9, 4, 100);
  driver.engine.submit(driver.request(1, 6, 8));
  const auto plan = driver.engine.next_step(0);
  StepResult result = executor.run(*plan);
  for (const auto& [epoch, step] : {std::pair{2, 0}, {0, 1}}) {
    StepResult foreign = result;
    foreign.epoch += static_cast<std::uint64_t>(epoch);
    foreign.step += static_cast<std::uint64_t>(step);
    driver.engine.apply(0, foreign);
    EXPECT_FALSE(driver.engine.next_step(0).has_value()) << "the step is still outstanding";
  }
  driver.engine.apply(0, result);
  driver.engine.apply(0, result);  // a second time
  driver.engine.check_integrity();
  EXPECT_TRUE(driver.engine.next_step(0).has_value());
}

TEST(EngineTest, DrainingRefusesNewWorkAndFinishesTheOld) {
  EngineDriver driver(options_of(), 100);
  driver.engine.submit(driver.request(1, 6, 8));
  driver.engine.drain();
  driver.engine.submit(driver.request(2, 6, 8));
  EXPECT_EQ(driver.last(2)->failure->reason, FailureReason::kDraining);
  driver.run_until_idle();
  EXPECT_EQ(driver.tokens(1).size(), 8U);
}

}  // namespace
}  // namespace tessera
