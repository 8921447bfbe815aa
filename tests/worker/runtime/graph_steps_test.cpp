#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "common/base/error.h"
#include "tests/support/error_matchers.h"
#include "tests/worker/support/fixture.h"
#include "tests/worker/support/thread_communicator.h"
#include "worker/model/tensor_names.h"
#include "worker/runtime/model_runner.h"
#include "worker/weights/dummy_source.h"
#ifdef TESSERA_CUDA_EMULATION
#include "kernels/cuda/cuda_backend.h"
#else
#include "kernels/backend_registry.h"
#include "tests/kernels/cuda_cases.h"
#endif

// Steps as graphs against the same steps launched operation by operation: equal bits.
namespace tessera {
namespace {

using ::testing::HasSubstr;

constexpr std::int32_t kTokensPerPage = 8;
constexpr std::int32_t kMaxLen = 64;
constexpr std::int32_t kMaxRows = 40;
constexpr std::int32_t kSequences = 5;

std::unique_ptr<kernels::Backend> create(bool deterministic) {
#ifdef TESSERA_CUDA_EMULATION
  return kernels::cuda::create_cuda_backend({.deterministic = deterministic});
#else
  kernels::BackendOptions options;
  options.deterministic = deterministic;
  return kernels::create_backend("cuda", options);
#endif
}

RankConfig config() {
  return {.page_size = kTokensPerPage,
          .num_pages = kSequences * kMaxLen / kTokensPerPage,
          .max_step_rows = kMaxRows,
          .max_model_len = kMaxLen,
          .max_sequences = kSequences};
}

// A model of random weights and its runner.
struct Ranked {
  Ranked(const std::string& family, bool deterministic, const ModelRunnerOptions& options)
      : spec(read_model_spec(fixtures_dir() / family / "f32")),
        shard(shard_of(spec, 0, 1, ExpertSharding::kByWidth)),
        backend(create(deterministic)),
        source(declare_tensors(spec), /*seed=*/7),
        weights(load_weights(spec, shard, source, *backend, nullptr)),
        communicator(std::move(thread_communicators(1).front())),
        runner(spec, shard, weights, *backend, *communicator, config(), options) {}

  ModelSpec spec;
  RankShard shard;
  std::unique_ptr<kernels::Backend> backend;
  DummySource source;
  ModelWeights weights;
  std::unique_ptr<Communicator> communicator;
  ModelRunner runner;
};

// Plans of sequences that grow, stay as they are, end and begin. Pages are dealt from the lowest:
// slot 0, where padding would land, is always in use.
class Traffic {
 public:
  explicit Traffic(TokenId vocab_size) : vocab_size_(vocab_size) {
    for (PageId page = kSequences * kMaxLen / kTokensPerPage - 1; page >= 0; --page) {
      free_.push_back(page);
    }
  }

  StepPlan next() {
    StepPlan plan;
    plan.step = ++step_;
    for (auto it = sequences_.begin(); it != sequences_.end();) {
      if (it->first > 1 && it->second.stored + 12 > kMaxLen) {
        plan.released.push_back(it->first);
        free_.insert(free_.end(), it->second.pages.begin(), it->second.pages.end());
        it = sequences_.erase(it);
      } else {
        ++it;
      }
    }
    while (sequences_.size() < kSequences) sequences_[next_request_++];
    std::int32_t rows_left = pick(4, kMaxRows);
    for (auto& [request, sequence] : sequences_) {
      const std::int32_t rows = 4 * pick(1, 3);
      if (rows > rows_left || sequence.stored + rows > kMaxLen || pick(0, 3) == 0) continue;
      rows_left -= rows;
      plan.spans.push_back({request, span_of(sequence.stored, rows)});
      add_pages(request, sequence, plan);
    }
    if (plan.spans.empty()) return next_with(plan);
    return plan;
  }

 private:
  struct Sequence {
    std::int32_t stored = 0;
    std::vector<PageId> pages;
  };

  // A step has rows.
  StepPlan next_with(StepPlan plan) {
    auto& [request, sequence] = *sequences_.rbegin();
    plan.spans.push_back({request, span_of(sequence.stored, 4)});
    add_pages(request, sequence, plan);
    return plan;
  }

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }

  Span span_of(std::int32_t stored, std::int32_t rows) {
    Span span;
    span.first = span.cache_len = stored;
    span.mask_block = 4;
    for (int i = 0; i < rows; ++i) span.tokens.push_back(pick(0, vocab_size_ - 1));
    if (pick(0, 2) > 0) span.stores = {{stored, stored + rows}};
    const bool filters = pick(0, 5) == 0;
    for (Position p = stored; p < stored + rows; ++p) {
      if (pick(0, 8) == 0 && uses_recipes_) add_recipe(p, span);
      if (pick(0, 2) > 0) add_measure(p, filters, span);
    }
    uses_recipes_ = pick(0, 2) == 0;
    return span;
  }

  void add_recipe(Position position, Span& span) {
    RowRecipe row{position, {}};
    row.recipe.num_ids = 2;
    row.recipe.ids[0] = pick(0, vocab_size_ - 1);
    row.recipe.ids[1] = pick(0, vocab_size_ - 1);
    row.recipe.probabilities[0] = 0.5F;
    row.recipe.probabilities[1] = 0.25F;
    row.recipe.residual = 0.25F;
    span.recipes.push_back(row);
  }

  void add_measure(Position position, bool filters, Span& span) {
    Measure measure;
    measure.row = measure.position = position;
    measure.seed = 3;
    if (pick(0, 1) == 0) {
      measure.kind = MeasureKind::kSampled;
      measure.temperature = 0.8F;
      if (filters) measure.top_p = 0.7F;
    }
    if (filters && pick(0, 2) == 0) measure.num_alternatives = 2;
    span.measures.push_back(measure);
  }

  void add_pages(RequestId request, Sequence& sequence, StepPlan& plan) {
    const Span& span = plan.spans.back().span;
    if (!span.stores.empty()) sequence.stored = span.stores.back().end;
    const auto held = static_cast<std::int32_t>(sequence.pages.size());
    PageTableDelta delta{request, held, {}};
    while (static_cast<std::int32_t>(sequence.pages.size()) * kTokensPerPage < sequence.stored) {
      delta.pages.push_back(free_.back());
      sequence.pages.push_back(free_.back());
      free_.pop_back();
    }
    plan.page_table_deltas.push_back(std::move(delta));
  }

  TokenId vocab_size_;
  std::mt19937 rng_{/*seed=*/20261};
  std::int32_t step_ = 0;
  RequestId next_request_ = 1;
  std::map<RequestId, Sequence> sequences_;
  std::vector<PageId> free_;
  bool uses_recipes_ = false;
};

class GraphStepsTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
#ifndef TESSERA_CUDA_EMULATION
    const std::string missing = kernels::missing_gpu();
    if (!missing.empty()) GTEST_SKIP() << missing;
#endif
  }
};

INSTANTIATE_TEST_SUITE_P(Models, GraphStepsTest, ::testing::Values("sdar", "sdar_moe"));

TEST_P(GraphStepsTest, AGraphGivesTheBitsOfItsOperations) {
  std::size_t num_graphs = 0;
  ModelRunnerOptions with_graphs;
  with_graphs.on_graph_progress = [&](std::size_t made, std::size_t all) {
    num_graphs = made;
    EXPECT_LE(made, all);
  };
  Ranked graphs(GetParam(), /*deterministic=*/false, with_graphs);
  // Rows and measures: 16, 32, 40, and 0, 16; 0, 32; 0, 40.
  EXPECT_EQ(num_graphs, 12U);
  Ranked eager(GetParam(), /*deterministic=*/false, {.eager = true});
  Traffic traffic(graphs.spec.vocab_size);
  const int num_steps = 24;
  std::size_t num_measured = 0;
  for (int step = 0; step < num_steps; ++step) {
    const StepPlan plan = traffic.next();
    const auto got = graphs.runner.run(plan);
    ASSERT_EQ(got, eager.runner.run(plan)) << "step " << step;
    for (const SpanResult& span : got) num_measured += span.measurements.size();
  }
  EXPECT_GT(num_measured, 200U);
}

#ifdef TESSERA_CUDA_EMULATION
// In deterministic mode steps are not padded, and here products do not depend on the number of rows
// in any mode.
TEST_P(GraphStepsTest, PaddingChangesNothing) {
  Ranked padded(GetParam(), /*deterministic=*/false, {.eager = true});
  Ranked plain(GetParam(), /*deterministic=*/true, {});
  Traffic traffic(padded.spec.vocab_size);
  for (int step = 0; step < 10; ++step) {
    const StepPlan plan = traffic.next();
    ASSERT_EQ(padded.runner.run(plan), plain.runner.run(plan)) << "step " << step;
  }
}
#endif

}  // namespace
}  // namespace tessera
