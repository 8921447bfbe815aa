#include <memory>
#include <utility>
#include <vector>

#include "benchmarks/kernels/kernel_suite.h"
#include "kernels/partition.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int64_t kVocabSize = 151936;
constexpr std::int64_t kHidden = 1024;
constexpr float kLogitDeviation = 3.0F;  // about that of a trained model

struct MeasureCase {
  const char* name;
  MeasureKind kind;
  float temperature;
};

// The packed LM head of a suite, made when it is first used: larger than the caches by itself.
class Head {
 public:
  explicit Head(std::shared_ptr<kernels::Backend> backend) : backend_(std::move(backend)) {}

  const kernels::PackedMatrix& get() {
    if (head_ == nullptr) {
      head_ = backend_->create_packed({kVocabSize, kHidden, 1, kNumLeaves});
      const kernels::Buffer source = random_bfloat16(kVocabSize * kHidden, 1.0F / 32.0F);
      backend_->pack_rows(*head_, 0,
                          {source.data(), DType::kBFloat16, kVocabSize, kHidden, kHidden});
    }
    return *head_;
  }

 private:
  std::shared_ptr<kernels::Backend> backend_;
  std::unique_ptr<kernels::PackedMatrix> head_;
};

void run_measure(benchmark::State& state,
                 const KernelSuite& suite,
                 const kernels::PackedMatrix& head,
                 const MeasureCase& measured,
                 std::int64_t num_rows) {
  const kernels::Buffer hidden = random_bfloat16(num_rows * kHidden, kLogitDeviation);
  std::vector<Measure> measures(static_cast<std::size_t>(num_rows));
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i].kind = measured.kind;
    measures[i].temperature = measured.temperature;
    measures[i].seed = i;
  }
  std::vector<kernels::MeasurePartial> partials(measures.size());
  const kernels::Buffer workspace(suite.backend->measure_workspace_bytes(head, num_rows));
  for (auto _ : state) {
    suite.backend->measure(
        {hidden.data(), DType::kBFloat16, num_rows, kHidden, kHidden}, head,
        {0, static_cast<std::int32_t>(kVocabSize), /*mask_id=*/-1}, measures,
        {workspace.as<std::byte>(), static_cast<std::size_t>(workspace.num_bytes())}, partials);
  }
  const auto size = static_cast<double>(kVocabSize * kHidden);
  report(state, suite, {2.0 * size * static_cast<double>(num_rows), 2.0 * size});
}

// As many operations as the LM head itself, on the same weights; probabilities of every id first.
void run_soft_embedding(benchmark::State& state,
                        const KernelSuite& suite,
                        const kernels::PackedMatrix& head,
                        std::int64_t num_rows) {
  const kernels::Buffer logits = random_float32(num_rows * kVocabSize);
  kernels::MeasurePartial partial;
  partial.max_logit = 6.0;
  partial.tempered_sum = 1000.0;
  const std::vector<kernels::MeasurePartial> partials(static_cast<std::size_t>(num_rows), partial);
  const kernels::Buffer workspace(suite.backend->soft_embedding_workspace_bytes(head, num_rows));
  const kernels::Buffer out(num_rows * kHidden * size_of(DType::kFloat32));
  for (auto _ : state) {
    suite.backend->soft_embedding(
        {.logits = {logits.data(), DType::kFloat32, num_rows, kVocabSize, kVocabSize},
         .table = &head,
         .partials = partials,
         .workspace = workspace.values<std::byte>(),
         .out = {out.data(), DType::kFloat32, num_rows, kHidden, kHidden}});
  }
  const auto size = static_cast<double>(kVocabSize * kHidden);
  const auto ids = static_cast<double>(kVocabSize * num_rows);
  report(state, suite, {2.0 * size * static_cast<double>(num_rows), 2.0 * size + 4.0 * ids});
}

}  // namespace

void register_measure(const KernelSuite& suite) {
  const MeasureCase cases[] = {
      {"greedy", MeasureKind::kGreedy, 0.0F},
      {"sampled", MeasureKind::kSampled, 0.8F},
      {"canvas", MeasureKind::kCanvas, 0.8F},
  };
  const auto head = std::make_shared<Head>(suite.backend);
  for (const MeasureCase& measured : cases) {
    for (const std::int64_t rows : {1, 8, 32, 128}) {
      benchmark::RegisterBenchmark(
          (suite.name("measure") + "/" + measured.name + "/M:" + std::to_string(rows)).c_str(),
          [suite, head, measured, rows](benchmark::State& state) {
            run_measure(state, suite, head->get(), measured, rows);
          })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  for (const std::int64_t rows : {8, 32, 64}) {
    benchmark::RegisterBenchmark(
        (suite.name("soft_embedding") + "/M:" + std::to_string(rows)).c_str(),
        [suite, head, rows](benchmark::State& state) {
          run_soft_embedding(state, suite, head->get(), rows);
        })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

}  // namespace tessera::benchmarks
