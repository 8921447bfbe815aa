#include "kernels/cuda/measure/measure_rows.h"

#include <type_traits>

#include "common/base/error.h"
#include "common/base/philox.h"
#include "common/tensor/padding.h"
#include "kernels/cuda/device/exponential.h"
#include "kernels/cuda/device/kernel_order.h"
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

  // Calls visit(x, id) for every logit, ids ascending.
  template <typename Visit>
  __device__ void each(const Visit& visit) {
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
  TokenId greedy = -1;
};

__device__ inline Sums operator+(const Sums& a, const Sums& b) {
  return {a.plain + b.plain, a.tempered + b.tempered, a.weighted + b.weighted,
          max(a.greedy, b.greedy)};
}

// Of a row whose sums are one.
struct PlainSum {
  float plain = 0.0F;
  TokenId greedy = -1;
};

__device__ inline PlainSum operator+(const PlainSum& a, const PlainSum& b) {
  return {a.plain + b.plain, max(a.greedy, b.greedy)};
}

__device__ inline float inverse_of(float temperature) {
  return 1.0F / fmaxf(temperature, kLeastTemperature);
}

constexpr float kLog2E = 1.44269504F;
constexpr float kLn2 = 0.69314718F;

// The CTA's sums, to some 1e-7: exponentials and additions in fp32, a tree of some thousand terms.
// Leaves exp((l - high) / temperature) in the place of every logit.
__device__ inline Sums take_plain_sum(Logits& logits,
                                      float high,
                                      TokenId greedy,
                                      SharedSpan<PlainSum> scratch) {
  PlainSum mine{0.0F, greedy};
  logits.each([&](float& x, TokenId) {
    x = fast_exp2((x - high) * kLog2E);
    mine.plain += x;
  });
  const PlainSum sum = cta_reduce<kThreads>(
      mine, scratch, [](const PlainSum& a, const PlainSum& b) { return a + b; });
  return {sum.plain, sum.plain, 0.0F, sum.greedy};
}

__device__ inline Sums take_sums(Logits& logits,
                                 float high,
                                 TokenId greedy,
                                 float temperature,
                                 bool weighted,
                                 SharedSpan<Sums> scratch) {
  constexpr float kLeast = -150.0F;  // 2^kLeast is nothing, and finite
  const float inverse = inverse_of(temperature) * kLog2E;
  Sums mine{0.0F, 0.0F, 0.0F, greedy};
  if (weighted) {
    logits.each([&](float& x, TokenId) {
      const float distance = x - high;
      const float scaled = fmaxf(distance * inverse, kLeast);
      mine.plain += fast_exp2(distance * kLog2E);
      x = fast_exp2(scaled);
      mine.tempered += x;
      mine.weighted += scaled * x;
    });
    mine.weighted *= kLn2;
  } else {
    logits.each([&](float& x, TokenId) {
      const float distance = x - high;
      mine.plain += fast_exp2(distance * kLog2E);
      x = fast_exp2(distance * inverse);
      mine.tempered += x;
    });
  }
  return cta_reduce<kThreads>(mine, scratch, [](const Sums& a, const Sums& b) { return a + b; });
}

struct Choice {
  double score = kMinusInfinity;
  TokenId token = -1;
};

__device__ inline Choice better(const Choice& a, const Choice& b) {
  return b.score > a.score || (b.score == a.score && b.token > a.token) ? b : a;
}

// The best choice of a CTA, on its first thread. @param scratch  [kWarps]
__device__ inline Choice best_of_cta(Choice choice, SharedSpan<Choice> scratch) {
  // Few warps have any.
  if (__any_sync(kAllLanes, choice.token >= 0 ? 1 : 0) != 0) choice = warp_reduce(choice, &better);
  if (lane_index() == 0) scratch[warp_index()] = choice;
  __syncthreads();
  if (threadIdx.x != 0) return choice;
  for (int warp = 1; warp < kWarps; ++warp) choice = better(choice, scratch[warp]);
  return choice;
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

// Finds the best score t + noise of a part's ids with few logarithms: the sums tell which scores
// the best may have, and weights and random words which ids may have such scores. Of those few,
// bounds of the scores in fp32 tell which may be the best, and exact scores which is.
class Sampler {
 public:
  /// @param row  Logits of the row, id vocabulary.first_id first.
  /// @param end  Id behind the part's last.
  __device__ Sampler(const float* row,
                     TokenId end,
                     const VocabularyShard& vocabulary,
                     const Measure& measure)
      : row_(row),
        end_(end),
        vocabulary_(vocabulary),
        measure_(measure),
        inverse_(inverse_of(measure.temperature)) {}

  /// @param weights  exp(t - max t)
  /// @param high     The largest logit of the part; @param sum  of the weights.
  /// @return         The best id of those of this thread that may be the best of the part.
  __device__ Choice best(Logits& weights, float high, float sum, SharedSpan<float> scratch) const {
    // The best score is max t + log(sum) and Gumbel noise, so seldom `below` less: in e^-e^below of
    // all parts, and e^below ids are above.
    constexpr float kBelow[] = {1.5F, 4.0F};
    constexpr float kLargest = 1e6F;  // of t, for errors of fp64 to be nothing beside the margin
    const float top = high * inverse_;
    unsigned candidates = 0;
    Bounds bounds;
    float reached = kExcluded;
#pragma unroll 1
    for (int round = 0; round < 3; ++round) {
      const bool all = round == 2 || !(fabsf(top) < kLargest);
      const float below = round == 0 ? kBelow[0] : kBelow[1];
      candidates = all ? all_ids(weights) : likely_ids(weights, __expf(below) / sum);
      bounds = bounds_of(candidates, weights.first_id[0]);
      reached =
          cta_reduce<kThreads>(bounds.lower, scratch, [](float x, float y) { return fmaxf(x, y); });
      const float expected = top + __logf(sum) - below;
      if (all || reached >= expected + slack(expected)) break;
    }
    return bounds.upper < reached ? Choice{} : exact_best(candidates, weights.first_id[0]);
  }

 private:
  // Of the best score of a thread.
  struct Bounds {
    float lower = kExcluded;
    float upper = kExcluded;
  };

  __device__ float slack(float score) const {
    return measure_.temperature > kLeastTemperature ? 4e-5F + fabsf(score) * 0x1p-20F : INFINITY;
  }

  __device__ float logit(TokenId id) const {
    return allowed_logit(row_[id - vocabulary_.first_id], id, vocabulary_, measure_);
  }

  __device__ auto words(TokenId id) const {
    return philox4x32_10(measure_.seed, static_cast<std::uint32_t>(id) >> 2, measure_.position,
                         measure_.denoising_step, RandomStream::kToken);
  }

  __device__ unsigned all_ids(Logits& weights) const {
    unsigned ids = 0;
    unsigned bit = 1;
    weights.each([&](float&, TokenId id) {
      if (id < end_) ids |= bit;
      bit <<= 1;
    });
    return ids;
  }

  // Ids that may have a score of at least max t - log(factor): 1 - u <= -log u = exp(-noise)
  // <= exp(t - max t) factor. Margins: an error of 1e-4 in a weight; the test is of 1 - u + 2^-24.
  __device__ unsigned likely_ids(const Logits& weights, float factor) const {
    constexpr float kMargin = 1.001F;
    constexpr float kHalfStep = 6e-8F;
    const float scale = factor * kMargin;
    unsigned ids = 0;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const auto random = words(weights.first_id[pass]);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float u = __uint_as_float(0x3F800000U | (random[static_cast<std::size_t>(i)] >> 9));
        if (2.0F - u <= weights.x[pass][i] * scale + kHalfStep) ids |= 1U << (pass * kVector + i);
      }
    }
    return ids;
  }

  // Calls visit(id, logit) for the thread's ids of a set.
  template <typename Visit>
  __device__ void each_id(unsigned ids, TokenId first_id, const Visit& visit) const {
#pragma unroll 1
    for (; ids != 0; ids &= ids - 1) {
      const int bit = __ffs(static_cast<int>(ids)) - 1;
      const TokenId id = first_id + bit / kVector * kThreads * kVector + bit % kVector;
      const float x = logit(id);
      if (x > kExcluded) visit(id, x);
    }
  }

  __device__ Bounds bounds_of(unsigned ids, TokenId first_id) const {
    constexpr float kLimit = 1e30F;
    Bounds bounds;
    each_id(ids, first_id, [&](TokenId id, float x) {
      const auto random = words(id);
      const int i = id % kVector;
      const std::uint32_t word = i == 0   ? random[0]
                                 : i == 1 ? random[1]
                                 : i == 2 ? random[2]
                                          : random[3];
      const float score = fminf(fmaxf(x * inverse_, -kLimit), kLimit) + approximate_noise(word);
      bounds.lower = fmaxf(bounds.lower, score - slack(score));
      bounds.upper = fmaxf(bounds.upper, score + slack(score));
    });
    return bounds;
  }

  __device__ Choice exact_best(unsigned ids, TokenId first_id) const {
    Choice best;
    each_id(ids, first_id, [&](TokenId id, float x) {
      const double t = static_cast<double>(x) / measure_.temperature;
      const double noise =
          gumbel_noise(measure_.seed, measure_.position, measure_.denoising_step, id);
      best = better(best, {t + noise, id});
    });
    return best;
  }

  const float* row_;
  TokenId end_;
  const VocabularyShard& vocabulary_;
  const Measure& measure_;
  float inverse_;
};

/// A CTA measures a part of a row: some ids of one leaf, which stay in registers.
template <bool kAligned>
__global__ __launch_bounds__(kThreads, 4) void measure_part_kernel(const PartArgs args) {
  SharedMemory memory;
  const SharedSpan<float> floats = memory.take<float>(kWarps);
  const SharedSpan<Sums> sums_scratch = memory.take<Sums>(kWarps);
  const SharedSpan<PlainSum> plain_scratch = memory.take<PlainSum>(kWarps);
  const SharedSpan<Choice> choices = memory.take<Choice>(kWarps);
  begin_in_order();
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

  float mine = kExcluded;
  logits.each([&](float x, TokenId) { mine = fmaxf(mine, x); });
  const float high =
      cta_reduce<kThreads>(mine, floats, [](float a, float b) { return fmaxf(a, b); });
  MeasurePartial partial;
  partial.temperature = temperature;
  if (high > kExcluded) {
    TokenId greedy = -1;
    if (mine == high) {
      logits.each([&](float x, TokenId id) {
        if (x == high) greedy = id;
      });
    }
    const bool weighted = measure.kind == MeasureKind::kCanvas;
    const Sums sums = temperature == 1.0F && !weighted
                          ? take_plain_sum(logits, high, greedy, plain_scratch)
                          : take_sums(logits, high, greedy, temperature, weighted, sums_scratch);
    partial.max_logit = high;
    partial.plain_sum = sums.plain;
    partial.tempered_sum = sums.tempered;
    partial.tempered_weighted_sum = sums.weighted;
    partial.greedy_token = sums.greedy;
    Choice choice{high, sums.greedy};
    if (measure.kind != MeasureKind::kGreedy && measure.temperature != 0.0F) {
      const Sampler sampler(logits_row, args.vocabulary.first_id + end, args.vocabulary, measure);
      choice = best_of_cta(sampler.best(logits, high, sums.tempered, floats), choices);
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
  begin_in_order();
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
              SharedMemory::bytes_of<PlainSum>(kWarps) + SharedMemory::bytes_of<Choice>(kWarps),
          .starts_early = true},
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
          .shared_bytes = 0,
          .starts_early = true},
         context.stream(), parts, parts_per_leaf, static_cast<int>(rows.row_leaves),
         rows.logits.rows, partials);
}

}  // namespace tessera::kernels::cuda
