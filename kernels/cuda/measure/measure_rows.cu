#include "kernels/cuda/measure/measure_rows.h"

#include <type_traits>

#include "common/base/error.h"
#include "common/base/philox.h"
#include "common/tensor/padding.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/measure_row.h"

namespace tessera::kernels::cuda {
namespace {

static_assert(std::is_trivially_copyable_v<Measure>);

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kPasses = 4;
constexpr int kPartIds = kThreads * kPasses * kVector;  // ids that a CTA holds in registers
constexpr int kPartAlignment = 32;                      // ids: 128 bytes

// Below it, a temperature leaves the largest logits and nothing else.
constexpr float kLeastTemperature = 1e-30F;

constexpr float kExcluded = -INFINITY;

struct PartArgs {
  RowsView<const float> logits;
  int leaf_cols;
  int part_cols;
  int parts_per_leaf;
  int num_parts;  // of a row
  VocabularyShard vocabulary;
  const Measure* measures;  // [rows]
  bool are_penalised;
  MeasurePartial* parts;  // out [rows, num_parts]
};

__host__ __device__ inline int parts_of_leaf(int leaf_cols) {
  return (leaf_cols + kPartIds - 1) / kPartIds;
}

// The logit of an id as the measurement sees it. What is not a number is -inf.
__device__ inline float allowed_logit(float logit,
                                      TokenId id,
                                      const VocabularyShard& vocabulary,
                                      const Measure& measure) {
  if (id >= vocabulary.tokenizer_size || id == vocabulary.mask_id) return kExcluded;
  return fmaxf(id == measure.penalised_id ? logit - measure.penalty : logit, kExcluded);
}

// This thread's logits of a part: kPasses runs of four neighbours.
struct Logits {
  float x[kPasses][kVector];
  TokenId first_id[kPasses];

  /// @tparam kAligned  Every row begins on 16 bytes.
  template <bool kAligned>
  __device__ void load(
      const PartArgs& args, const Measure& measure, const float* row, int begin, int end) {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int col = begin + (pass * kThreads + static_cast<int>(threadIdx.x)) * kVector;
      first_id[pass] = args.vocabulary.first_id + col;
      float4 value{kExcluded, kExcluded, kExcluded, kExcluded};
      if (col < end) value = load_vector(row, col, col + kVector, kAligned);
      x[pass][0] = value.x;
      x[pass][1] = value.y;
      x[pass][2] = value.z;
      x[pass][3] = value.w;
    }
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) exclude(args.vocabulary, measure, pass);
  }

  // Calls visit(logit, id) for every logit, ids ascending.
  template <typename Visit>
  __device__ void each(const Visit& visit) const {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) visit(x[pass][i], first_id[pass] + i);
    }
  }

 private:
  __device__ void exclude(const VocabularyShard& vocabulary, const Measure& measure, int pass) {
    const TokenId first = first_id[pass];
    const auto holds = [&](TokenId id) {
      return static_cast<unsigned>(id) - static_cast<unsigned>(first) < unsigned{kVector};
    };
    const bool special = first + kVector > vocabulary.tokenizer_size || holds(vocabulary.mask_id) ||
                         holds(measure.penalised_id);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      x[pass][i] = special ? allowed_logit(x[pass][i], first + i, vocabulary, measure)
                           : fmaxf(x[pass][i], kExcluded);
    }
  }
};

struct Sums {
  float plain = 0.0F;
  float tempered = 0.0F;
  float weighted = 0.0F;
};

__device__ inline float inverse_of(float temperature) {
  return 1.0F / fmaxf(temperature, kLeastTemperature);
}

// Exponentials and sums in fp32, a tree of some thousand terms: to some 1e-7 of the sum.
__device__ inline Sums thread_sums(const Logits& logits,
                                   float high,
                                   float temperature,
                                   bool weighted) {
  Sums sums;
  if (temperature == 1.0F && !weighted) {
    logits.each([&](float x, TokenId) { sums.plain += expf(x - high); });
    sums.tempered = sums.plain;
    return sums;
  }
  const float inverse = inverse_of(temperature);
  logits.each([&](float x, TokenId) {
    const float distance = x - high;
    const float scaled = fmaxf(distance * inverse, -100.0F);
    const float weight = expf(scaled);
    sums.plain += expf(distance);
    sums.tempered += weight;
    sums.weighted += scaled * weight;
  });
  if (!weighted) sums.weighted = 0.0F;
  return sums;
}

struct Choice {
  double score = kMinusInfinity;
  TokenId token = -1;
};

__device__ inline Choice better(const Choice& a, const Choice& b) {
  return b.score > a.score || (b.score == a.score && b.token > a.token) ? b : a;
}

// Gumbel noise of a random word in fp32, to 1e-5. Near u = 1, where -log u is small and the noise
// large, by the series of -log(1 - c): the hardware's logarithm is good to 4e-7 in absolute terms.
__device__ inline float approximate_noise(std::uint32_t word) {
  const float c = static_cast<float>(0xFFFFFFU - ((word >> 9) << 1)) * 0x1p-24F;  // 1 - u, exactly
  const float series =
      c * (1.0F + c * (0.5F + c * (1.0F / 3 + c * (0.25F + c * (0.2F + c * (1.0F / 6))))));
  const float minus_log = c < 0.125F ? series : -__logf(1.0F - c);
  return -__logf(minus_log);
}

// Finds the best score of a part in two steps: fp32 scores of all ids, which take the place of the
// logits, with a bound of their error; then exact ones of the few that may be the best.
// @param row  Logits of the row, id first_id first.
__device__ inline Choice sampled_choice(Logits& logits,
                                        const float* row,
                                        const VocabularyShard& vocabulary,
                                        const Measure& measure,
                                        SharedSpan<float> scratch) {
  constexpr float kLimit = 1e30F;
  const float inverse = inverse_of(measure.temperature);
  const bool scaled = measure.temperature > kLeastTemperature;
  const auto slack = [&](float score) {
    return scaled ? 4e-5F + fabsf(score) * 0x1p-20F : INFINITY;
  };
  float reached = kExcluded;  // by the best, surely
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto words =
        philox4x32_10(measure.seed, static_cast<std::uint32_t>(logits.first_id[pass]) >> 2,
                      measure.position, measure.denoising_step, RandomStream::kToken);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      float& x = logits.x[pass][i];
      if (!(x > kExcluded)) continue;
      x = fminf(fmaxf(x * inverse, -kLimit), kLimit) +
          approximate_noise(words[static_cast<std::size_t>(i)]);
      reached = fmaxf(reached, x - slack(x));
    }
  }
  reached = cta_reduce<kThreads>(reached, scratch, [](float a, float b) { return fmaxf(a, b); });
  unsigned candidates = 0;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float score = logits.x[pass][i];
      if (score > kExcluded && !(score + slack(score) < reached)) {
        candidates |= 1U << (pass * kVector + i);
      }
    }
  }
  Choice best;
  for (; candidates != 0; candidates &= candidates - 1) {
    const int bit = __ffs(static_cast<int>(candidates)) - 1;
    const TokenId id = logits.first_id[0] + bit / kVector * kThreads * kVector + bit % kVector;
    const float x = allowed_logit(row[id - vocabulary.first_id], id, vocabulary, measure);
    const double t = static_cast<double>(x) / measure.temperature;
    best = better(
        best, {t + gumbel_noise(measure.seed, measure.position, measure.denoising_step, id), id});
  }
  return best;
}

/// A CTA measures a part of a row: some ids of one leaf, which stay in registers.
template <bool kAligned>
__global__ __launch_bounds__(kThreads, 4) void measure_part_kernel(const PartArgs args) {
  SharedMemory memory;
  const SharedSpan<float> floats = memory.take<float>(kWarps);
  const SharedSpan<Sums> sums_scratch = memory.take<Sums>(kWarps);
  const SharedSpan<Choice> choices = memory.take<Choice>(kWarps);
  const SharedSpan<TokenId> ids = memory.take<TokenId>(kWarps);
  const std::int64_t row = blockIdx.x / static_cast<unsigned>(args.num_parts);
  const int part = static_cast<int>(blockIdx.x % static_cast<unsigned>(args.num_parts));
  const int leaf = part / args.parts_per_leaf;
  const int leaf_begin = leaf * args.leaf_cols;
  const int begin = leaf_begin + part % args.parts_per_leaf * args.part_cols;
  const int end = min(begin + args.part_cols, leaf_begin + args.leaf_cols);
  Measure measure = args.measures[row];
  if (args.are_penalised) measure.penalised_id = -1;
  const float temperature = effective_temperature(measure);
  const float* logits_row = args.logits.row(row);
  Logits logits;
  logits.load<kAligned>(args, measure, logits_row, begin, end);

  float high = kExcluded;
  logits.each([&](float x, TokenId) { high = fmaxf(high, x); });
  high = cta_reduce<kThreads>(high, floats, [](float a, float b) { return fmaxf(a, b); });
  MeasurePartial partial;
  partial.temperature = temperature;
  if (high > kExcluded) {
    const bool weighted = measure.kind == MeasureKind::kCanvas;
    const Sums sums = cta_reduce<kThreads>(
        thread_sums(logits, high, temperature, weighted), sums_scratch,
        [](const Sums& a, const Sums& b) {
          return Sums{a.plain + b.plain, a.tempered + b.tempered, a.weighted + b.weighted};
        });
    TokenId greedy = -1;
    logits.each([&](float x, TokenId id) {
      if (x == high) greedy = id;
    });
    greedy = cta_reduce<kThreads>(greedy, ids, [](TokenId a, TokenId b) { return max(a, b); });
    partial.max_logit = high;
    partial.plain_sum = sums.plain;
    partial.tempered_sum = sums.tempered;
    partial.tempered_weighted_sum = sums.weighted;
    partial.greedy_token = greedy;
    Choice choice{high, greedy};
    if (measure.kind != MeasureKind::kGreedy && measure.temperature != 0.0F) {
      choice = cta_reduce<kThreads>(
          sampled_choice(logits, logits_row, args.vocabulary, measure, floats), choices,
          [](const Choice& a, const Choice& b) { return better(a, b); });
    }
    partial.score = choice.score;
    partial.token = choice.token;
    if (threadIdx.x == 0) {
      partial.logit = allowed_logit(logits_row[choice.token - args.vocabulary.first_id],
                                    choice.token, args.vocabulary, measure);
    }
  }
  if (threadIdx.x == 0) args.parts[row * args.num_parts + part] = partial;
}

constexpr int kRowsPerWarp = kWarpSize / kNumLeaves;

/// Merges the parts of every leaf in ascending order (a lane each), then the leaves in tree order.
__global__ __launch_bounds__(kWarpSize) void merge_parts_kernel(MeasurePartial* parts,
                                                                int parts_per_leaf,
                                                                int row_leaves,
                                                                std::int64_t num_rows,
                                                                MeasurePartial* partials) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kRowsPerWarp + lane_index() / kNumLeaves;
  const int leaf = lane_index() % kNumLeaves;
  const bool present = row < num_rows && leaf < row_leaves;
  MeasurePartial* mine = parts + (row * row_leaves + leaf) * parts_per_leaf;
  MeasurePartial sum;
  if (present) {
    sum = mine[0];
    for (int part = 1; part < parts_per_leaf; ++part) sum = merge(sum, mine[part]);
    mine[0] = sum;
  }
  for (int distance = 1; distance < row_leaves; distance *= 2) {
    __syncwarp();
    if (present && leaf % (2 * distance) == 0) {
      sum = merge(sum, mine[distance * parts_per_leaf]);
      mine[0] = sum;
    }
  }
  if (present && leaf == 0) partials[row] = sum;
}

__global__ __launch_bounds__(kThreads) void soft_cap_kernel(RowsView<float> logits, float cap) {
  const std::int64_t col = std::int64_t{blockIdx.y} * kThreads + static_cast<int>(threadIdx.x);
  if (col >= logits.cols) return;
  float& logit = logits.row(blockIdx.x)[col];
  logit = cap * tanhf(logit / cap);
}

__global__ __launch_bounds__(kThreads) void exclude_ids_kernel(RowsView<float> logits,
                                                               VocabularyShard vocabulary,
                                                               const Measure* measures) {
  const Measure measure = measures[blockIdx.x];
  float* row = logits.row(blockIdx.x);
  const int cols = static_cast<int>(logits.cols);
  const int thread = static_cast<int>(threadIdx.x);
  const int tail = min(cols, max(0, vocabulary.tokenizer_size - vocabulary.first_id));
  for (int col = tail + thread; col < cols; col += kThreads) row[col] = kExcluded;
  if (thread != 0) return;
  const int mask = vocabulary.mask_id - vocabulary.first_id;
  const int penalised = measure.penalised_id - vocabulary.first_id;
  if (penalised >= 0 && penalised < tail) row[penalised] -= measure.penalty;
  if (vocabulary.mask_id >= 0 && mask >= 0 && mask < cols) row[mask] = kExcluded;
}

}  // namespace

std::int64_t num_measure_parts(std::int64_t cols, std::int32_t row_leaves) {
  return row_leaves * std::int64_t{parts_of_leaf(static_cast<int>(cols / row_leaves))};
}

void measure_rows(Context& context,
                  const LogitRows& rows,
                  MeasurePartial* parts,
                  MeasurePartial* partials) {
  const auto leaf_cols = static_cast<int>(rows.logits.cols / rows.row_leaves);
  TESSERA_REQUIRE(leaf_cols % kVector == 0 && rows.vocabulary.first_id % kVector == 0,
                  "measure: leaves of ", leaf_cols, " ids from ", rows.vocabulary.first_id,
                  " on: both must be multiples of ", kVector);
  if (rows.logits.rows == 0) return;
  const int parts_per_leaf = parts_of_leaf(leaf_cols);
  const int even_cols = (leaf_cols + parts_per_leaf - 1) / parts_per_leaf;
  const int num_parts = parts_per_leaf * rows.row_leaves;
  launch(is_aligned(rows.logits) ? &measure_part_kernel<true> : &measure_part_kernel<false>,
         {.grid_x = rows.logits.rows * num_parts,
          .grid_y = 1,
          .threads = kThreads,
          .shared_bytes =
              SharedMemory::bytes_of<float>(kWarps) + SharedMemory::bytes_of<Sums>(kWarps) +
              SharedMemory::bytes_of<Choice>(kWarps) + SharedMemory::bytes_of<TokenId>(kWarps)},
         context.stream(),
         PartArgs{.logits = rows_view<const float>(rows.logits),
                  .leaf_cols = leaf_cols,
                  .part_cols = static_cast<int>(round_up(even_cols, kPartAlignment)),
                  .parts_per_leaf = parts_per_leaf,
                  .num_parts = num_parts,
                  .vocabulary = rows.vocabulary,
                  .measures = rows.measures,
                  .are_penalised = rows.are_penalised,
                  .parts = parts});
  launch(&merge_parts_kernel,
         {.grid_x = (rows.logits.rows + kRowsPerWarp - 1) / kRowsPerWarp,
          .grid_y = 1,
          .threads = kWarpSize,
          .shared_bytes = 0},
         context.stream(), parts, parts_per_leaf, static_cast<int>(rows.row_leaves),
         rows.logits.rows, partials);
}

void soft_cap(Context& context, MatrixView logits, float cap) {
  launch(&soft_cap_kernel,
         {.grid_x = logits.rows,
          .grid_y = (logits.cols + kThreads - 1) / kThreads,
          .threads = kThreads,
          .shared_bytes = 0},
         context.stream(), rows_view<float>(logits), cap);
}

void exclude_ids(Context& context,
                 MatrixView logits,
                 const VocabularyShard& vocabulary,
                 const Measure* measures) {
  launch(&exclude_ids_kernel,
         {.grid_x = logits.rows, .grid_y = 1, .threads = kThreads, .shared_bytes = 0},
         context.stream(), rows_view<float>(logits), vocabulary, measures);
}

}  // namespace tessera::kernels::cuda
