#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/worker/support/backend_options.h"
#include "tests/worker/support/fixture.h"
#include "worker/runtime/loaded_model.h"
#include "worker/runtime/model_runner.h"

namespace {

std::atomic<std::int64_t> num_allocations = 0;

void* counted(std::size_t size) {
  ++num_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// This executable counts what its steps allocate.
void* operator new(std::size_t size) {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return counted(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace tessera {
namespace {

constexpr std::int32_t kSequences = 3;

// One rank alone: the communicator that serves one rank in production does nothing at all.
class SilentCommunicator final : public Communicator {
 public:
  std::int32_t rank() const override { return 0; }
  std::int32_t size() const override { return 1; }
  void all_reduce_tree(std::span<float>) override {}
  void all_reduce_sum(std::span<std::uint64_t>) override {}
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    std::copy(mine.begin(), mine.end(), all.begin());
  }
  void broadcast(std::span<std::byte>, std::int32_t) override {}
  void barrier() override {}
};

StepPlan plan_of(std::int32_t num_sequences) {
  StepPlan plan;
  for (std::int32_t i = 0; i < num_sequences; ++i) {
    const auto request = static_cast<RequestId>(i) + 1;
    plan.page_table_deltas.push_back({request, 0, {2 * i, 2 * i + 1}});
    Span span;
    span.tokens.assign(12, 5);
    span.mask_block = 4;
    span.stores = {{0, 4}};
    span.recipes.push_back({8, {}});
    span.recipes[0].recipe.num_ids = 1;
    for (Position p = 8; p < 12; ++p) {
      Measure measure;
      measure.row = measure.position = p;
      if (p % 2 == 0) {
        measure.kind = MeasureKind::kSampled;
        measure.temperature = 1.0F;
        measure.top_p = 0.9F;
      }
      span.measures.push_back(measure);
    }
    plan.spans.push_back({request, span});
  }
  return plan;
}

// Canvases of the first sequences, a prompt of the last.
StepPlan canvas_plan_of(std::int32_t num_sequences, bool conditioned) {
  StepPlan plan;
  for (std::int32_t i = 0; i < num_sequences; ++i) {
    const auto request = static_cast<RequestId>(i) + 1;
    plan.page_table_deltas.push_back({request, 0, {2 * i, 2 * i + 1}});
    Span span;
    span.tokens.assign(8, 5);
    if (i == kSequences - 1) {
      span.mask = MaskKind::kCausal;
      span.stores = {{0, 8}};
    } else {
      span.first = span.cache_len = 8;
      span.mask = MaskKind::kFull;
      span.self_conditioning = conditioned;
      for (Position p = 8; p < 16; ++p) {
        Measure measure;
        measure.kind = MeasureKind::kCanvas;
        measure.row = measure.position = p;
        measure.temperature = 0.7F;
        span.measures.push_back(measure);
      }
    }
    plan.spans.push_back({request, span});
  }
  return plan;
}

class StepAllocationTest : public ::testing::TestWithParam<kernels::BackendCase> {
 protected:
  void SetUp() override {
    const std::string missing = kernels::missing_for(GetParam());
    if (!missing.empty()) GTEST_SKIP() << missing;
  }

  void expect_no_allocations(const std::string& model,
                             const StepPlan& small,
                             const StepPlan& large);
};

INSTANTIATE_TEST_SUITE_P(Backends,
                         StepAllocationTest,
                         ::testing::ValuesIn(kernels::backend_cases()),
                         kernels::case_name);

// Not of `reference`, whose mixtures of experts allocate, nor of cuda's default mode, which chooses
// a product for every new size: steps of models with a canvas are not padded.
std::vector<kernels::BackendCase> canvas_cases() {
  std::vector<kernels::BackendCase> cases = kernels::backend_cases();
  std::erase_if(cases, [](const kernels::BackendCase& c) {
    return c.backend == "reference" || name_of(c) == "cuda";
  });
  return cases;
}

class CanvasAllocationTest : public StepAllocationTest {};

INSTANTIATE_TEST_SUITE_P(Backends,
                         CanvasAllocationTest,
                         ::testing::ValuesIn(canvas_cases()),
                         kernels::case_name);

TEST_P(StepAllocationTest, AStepAllocatesItsResultAndNothingElse) {
  expect_no_allocations("sdar", plan_of(1), plan_of(kSequences));
}

TEST_P(CanvasAllocationTest, AStepOfCanvasesAllocatesItsResultAndNothingElse) {
  expect_no_allocations("diffusion_gemma", canvas_plan_of(2, false),
                        canvas_plan_of(kSequences, true));
}

void StepAllocationTest::expect_no_allocations(const std::string& name,
                                               const StepPlan& small,
                                               const StepPlan& large) {
  ModelExecutorOptions options;
  options.model_dir = fixtures_dir() / name / "f32";
  use_backend(GetParam(), options);
  options.num_threads = 2;
  const auto model = load_model(options, 0, 1);
  SilentCommunicator communicator;
  ModelRunner runner(model->spec, model->shard, model->weights, *model->backend, communicator,
                     {.page_size = 8,
                      .num_pages = 2 * kSequences,
                      .max_step_rows = 64,
                      .max_model_len = 32,
                      .max_sequences = kSequences});
  runner.run(small);  // whatever is made on first use; buffers must not grow with a larger step
  for (const StepPlan* plan : {&large, &small, &large}) {
    // The request ids of the plan are known after its first run.
    const std::int64_t known = num_allocations;
    runner.run(*plan);
    const std::int64_t first = num_allocations - known;
    runner.run(*plan);
    const std::int64_t second = num_allocations - known - first;
    auto result = std::int64_t{1};  // the vector of SpanResult
    for (const SequenceSpan& sequence : plan->spans)
      result += sequence.span.measures.empty() ? 0 : 1;
    EXPECT_LE(first, result + 2 * kSequences) << "nodes of the tables of requests";
    EXPECT_EQ(second, result);
  }
}

}  // namespace
}  // namespace tessera
