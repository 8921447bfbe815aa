#include <string>
#include <vector>

#include "benchmarks/kernels_cuda/reporter.h"
#include "kernels/cuda/base/context.h"
#include "kernels/cuda/measure/measure_rows.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int64_t kHidden = 4096;
constexpr std::int64_t kVocabSize = 151936;
constexpr std::int32_t kLeaves = 8;
constexpr float kScale = 3.0F;  // logits of a peaked distribution

std::vector<Measure> measures_of(MeasureKind kind, std::int64_t count) {
  std::vector<Measure> measures(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i].kind = kind;
    measures[i].temperature = kind == MeasureKind::kGreedy ? 0.0F : 0.8F;
    measures[i].top_p = 0.9F;
    measures[i].position = static_cast<Position>(i);
  }
  return measures;
}

const char* name_of(MeasureKind kind) {
  switch (kind) {
    case MeasureKind::kGreedy: return "greedy";
    case MeasureKind::kSampled: return "sampled";
    case MeasureKind::kCanvas: break;
  }
  return "canvas";
}

constexpr MeasureKind kKinds[] = {MeasureKind::kGreedy, MeasureKind::kSampled,
                                  MeasureKind::kCanvas};

// The measurement alone. Its stream is its own: every run waits for it.
void stored_logits(Reporter& reporter) {
  constexpr std::int64_t kRows = 2048;
  kernels::Backend& backend = reporter.backend();
  kernels::cuda::Context context(/*deterministic=*/true);
  const kernels::Buffer logits = random_fp32(backend, kRows * kVocabSize, kScale);
  const kernels::Buffer parts =
      backend.allocate(kRows * kernels::cuda::num_measure_parts(kVocabSize, kLeaves) *
                       static_cast<std::int64_t>(sizeof(kernels::MeasurePartial)));
  const kernels::Buffer partials =
      backend.allocate(kRows * static_cast<std::int64_t>(sizeof(kernels::MeasurePartial)));
  for (const MeasureKind kind : kKinds) {
    const std::vector<Measure> measures = measures_of(kind, kRows);
    const Measure* staged = context.stage(std::span<const Measure>(measures));
    reporter.row(std::string("measurement of logits, ") + name_of(kind) + ", 2048 rows",
                 static_cast<double>(kRows * kVocabSize * 4), 0, [&](int) {
                   kernels::cuda::measure_rows(
                       context,
                       {{logits.data(), DType::kFloat32, kRows, kVocabSize, kVocabSize},
                        kLeaves,
                        {0, static_cast<std::int32_t>(kVocabSize), -1},
                        staged,
                        false},
                       parts.as<kernels::MeasurePartial>(), partials.as<kernels::MeasurePartial>());
                   context.wait();
                 });
  }
}

void with_lm_head(Reporter& reporter) {
  kernels::Backend& backend = reporter.backend();
  const auto head = backend.create_packed({kVocabSize, kHidden, 1, kLeaves});
  constexpr std::int64_t kGroup = 64;
  std::vector<std::uint16_t> rows(static_cast<std::size_t>(kGroup * kHidden));
  const kernels::Buffer random = random_bf16(backend, kGroup * kHidden, 0.05F);
  backend.download(random.data(), rows.data(), random.num_bytes());
  for (std::int64_t row = 0; row < kVocabSize; row += kGroup) {
    backend.pack_rows(*head, row, {rows.data(), DType::kBFloat16, kGroup, kHidden, kHidden});
  }
  for (const std::int64_t m : {32, 128, 512}) {
    const kernels::Buffer hidden = random_bf16(backend, m * kHidden);
    const kernels::Buffer workspace = backend.allocate(backend.measure_workspace_bytes(*head, m));
    const std::vector<Measure> measures = measures_of(MeasureKind::kGreedy, m);
    const kernels::Buffer partials =
        backend.allocate(m * static_cast<std::int64_t>(sizeof(kernels::MeasurePartial)));
    reporter.row("LM head and measurement, " + std::to_string(m) + " rows",
                 static_cast<double>((kVocabSize + m) * kHidden * 2),
                 2.0 * static_cast<double>(m * kVocabSize * kHidden), [&](int) {
                   backend.measure({hidden.data(), DType::kBFloat16, m, kHidden, kHidden}, *head,
                                   {0, static_cast<std::int32_t>(kVocabSize), -1}, measures,
                                   workspace.values<std::byte>(),
                                   partials.values<kernels::MeasurePartial>());
                 });
  }
}

// A round of the radix select; 32 rows of logits stay in the second-level cache.
void filtered(Reporter& reporter) {
  constexpr std::int64_t kRows = 32;
  kernels::Backend& backend = reporter.backend();
  const kernels::Buffer logits = random_fp32(backend, kRows * kVocabSize, kScale);
  const std::vector<kernels::DigitQuery> queries(
      kRows, {.prefix = 0, .max_logit = 15.0, .temperature = 0.8F, .shift = 56, .active = true});
  std::vector<kernels::DigitBin> bins(queries.size() * kernels::kNumDigits);
  reporter.row("a round of radix select, 32 rows", static_cast<double>(kRows * kVocabSize * 4), 0,
               [&](int) {
                 backend.count_digits(
                     {{logits.data(), DType::kFloat32, kRows, kVocabSize, kVocabSize}, kLeaves, 0},
                     queries, bins);
               });
}

}  // namespace

void measure_cases(Reporter& reporter) {
  stored_logits(reporter);
  with_lm_head(reporter);
  filtered(reporter);
}

}  // namespace tessera::benchmarks
