#include "kernels/cuda/measure/filter_rows.h"

#include <algorithm>
#include <limits>

#include "common/tensor/padding.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/cuda/measure/measure_rows.h"

namespace tessera::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kChunkCols = 4096;  // of a row, that a CTA reads
constexpr float kExcluded = -INFINITY;

// What atomics add to.
using Count = unsigned long long;
static_assert(sizeof(Count) == sizeof(std::uint64_t));

struct Rows {
  RowsView<float> logits;
  TokenId first_id;
};

// Calls visit(logit, id) for this thread's share of the CTA's chunk; blockIdx.x is the row.
template <typename Visit>
__device__ void each_logit(const Rows& rows, const Visit& visit) {
  const int begin = static_cast<int>(blockIdx.y) * kChunkCols;
  const int end = min(begin + kChunkCols, static_cast<int>(rows.logits.cols));
  float* row = rows.logits.row(blockIdx.x);
  for (int col = begin + static_cast<int>(threadIdx.x); col < end; col += kThreads) {
    visit(row[col], rows.first_id + col);
  }
}

__device__ inline LogitKey larger(LogitKey a, LogitKey b) {
  return a > b ? a : b;
}

/// The largest keys of a chunk, one after the other.
__global__ __launch_bounds__(kThreads) void top_of_chunk_kernel(const Rows rows,
                                                                const Measure* measures,
                                                                LogitKey* tops) {
  SharedMemory memory;
  const SharedSpan<LogitKey> scratch = memory.take<LogitKey>(kWarps);
  LogitKey* mine =
      tops + (std::int64_t{blockIdx.x} * gridDim.y + blockIdx.y) * std::int64_t{kMaxAlternatives};
  const bool wanted = measures[blockIdx.x].num_alternatives > 0;
  LogitKey below = wanted ? std::numeric_limits<LogitKey>::max() : 0;
  for (int i = 0; i < kMaxAlternatives; ++i) {
    LogitKey best = 0;
    if (below > 0) {
      each_logit(rows, [&](float logit, TokenId id) {
        if (!(logit > kExcluded)) return;
        const LogitKey key = key_of(logit, id);
        if (key < below) best = larger(best, key);
      });
    }
    below =
        cta_reduce<kThreads>(best, scratch, [](LogitKey a, LogitKey b) { return larger(a, b); });
    if (threadIdx.x == 0) mine[i] = below;
  }
}

/// A warp puts a row's statistics together: its partial and the largest of its chunks' keys.
__global__ __launch_bounds__(kWarpSize) void statistics_kernel(const MeasurePartial* partials,
                                                               const LogitKey* tops,
                                                               int num_keys,  // of a row
                                                               LogitStatistics* statistics) {
  LogitStatistics& mine = statistics[blockIdx.x];
  const LogitKey* keys = tops + std::int64_t{blockIdx.x} * num_keys;
  LogitKey below = std::numeric_limits<LogitKey>::max();
  if (lane_index() == 0) mine.partial = partials[blockIdx.x];
  for (int i = 0; i < kMaxAlternatives; ++i) {
    LogitKey best = 0;
    for (int k = lane_index(); k < num_keys; k += kWarpSize) {
      if (keys[k] < below) best = larger(best, keys[k]);
    }
    below = warp_reduce(best, [](LogitKey a, LogitKey b) { return larger(a, b); });
    if (lane_index() == 0) mine.top[static_cast<std::size_t>(i)] = below;
  }
}

__global__ __launch_bounds__(kNumDigits) void clear_bins_kernel(DigitBin* bins) {
  bins[std::int64_t{blockIdx.x} * kNumDigits + threadIdx.x] = DigitBin{0, 0};
}

// The masses of a warp's lanes that `belongs` is true for, together.
__device__ inline Count sum_of_masses(bool belongs, Count mass) {
  constexpr int kLowBits = 20;  // masses are at most 2^40: both halves of 32 of them fit
  const auto part = [&](Count bits) {
    return Count{__reduce_add_sync(kAllLanes, belongs ? static_cast<unsigned>(bits) : 0U)};
  };
  return (part(mass >> kLowBits) << kLowBits) + part(mass & ((Count{1} << kLowBits) - 1));
}

// Adds a digit and a mass of every lane of `present` to the bins. Lanes with the same digit are
// summed first, for the most frequent digits: in the first rounds there are few of them.
__device__ inline void add_digits(
    SharedSpan<Count> counts, SharedSpan<Count> masses, unsigned present, int digit, Count mass) {
  constexpr int kGroups = 4;
  for (int group = 0; group < kGroups && present != 0; ++group) {
    const int first = __ffs(static_cast<int>(present)) - 1;
    const int chosen = __shfl_sync(kAllLanes, digit, first);
    const bool belongs = (present >> lane_index() & 1U) != 0 && digit == chosen;
    const unsigned members = __ballot_sync(kAllLanes, belongs ? 1 : 0);
    const Count sum = sum_of_masses(belongs, mass);
    if (lane_index() == first) {
      shared_atomic_add(counts, digit, static_cast<Count>(__popc(members)));
      shared_atomic_add(masses, digit, sum);
    }
    present &= ~members;
  }
  if ((present >> lane_index() & 1U) == 0) return;
  shared_atomic_add(counts, digit, Count{1});
  shared_atomic_add(masses, digit, mass);
}

/// Integer sums: in any order the same.
__global__ __launch_bounds__(kThreads) void count_digits_kernel(const Rows rows,
                                                                const DigitQuery* queries,
                                                                DigitBin* bins) {
  SharedMemory memory;
  const SharedSpan<Count> counts = memory.take<Count>(kNumDigits);
  const SharedSpan<Count> masses = memory.take<Count>(kNumDigits);
  const DigitQuery query = queries[blockIdx.x];
  if (!query.active) return;
  for (int digit = static_cast<int>(threadIdx.x); digit < kNumDigits; digit += kThreads) {
    counts[digit] = 0;
    masses[digit] = 0;
  }
  __syncthreads();
  const int begin = static_cast<int>(blockIdx.y) * kChunkCols;
  const int end = min(begin + kChunkCols, static_cast<int>(rows.logits.cols));
  const float* row = rows.logits.row(blockIdx.x);
  for (int first = begin; first < end; first += kThreads) {  // whole warps
    const int col = first + static_cast<int>(threadIdx.x);
    const float logit = col < end ? row[col] : kExcluded;
    const LogitKey digits = key_of(logit, rows.first_id + col) >> query.shift;
    const bool counts_here = logit > kExcluded && digits >> 8 == query.prefix;
    const Count mass = counts_here ? Count{mass_of(logit, query)} : Count{0};
    add_digits(counts, masses, __ballot_sync(kAllLanes, counts_here ? 1 : 0),
               static_cast<int>(digits & 0xFFU), mass);
  }
  __syncthreads();
  for (int digit = static_cast<int>(threadIdx.x); digit < kNumDigits; digit += kThreads) {
    const Count count = counts[digit];
    if (count == 0) continue;
    DigitBin& bin = bins[std::int64_t{blockIdx.x} * kNumDigits + digit];
    const Count mass = masses[digit];
    atomicAdd(reinterpret_cast<Count*>(&bin.count), count);
    atomicAdd(reinterpret_cast<Count*>(&bin.mass), mass);
  }
}

__global__ __launch_bounds__(kThreads) void drop_kernel(const Rows rows, const LogitKey* cuts) {
  const LogitKey cut = cuts[blockIdx.x];
  if (cut == 0) return;
  float* row = rows.logits.row(blockIdx.x);
  each_logit(rows, [&](float logit, TokenId id) {
    if (key_of(logit, id) < cut) row[id - rows.first_id] = kExcluded;
  });
}

Rows rows_of(const StoredLogits& logits) {
  return {rows_view<float>(logits.rows), logits.first_id};
}

std::int64_t num_chunks(const StoredLogits& logits) {
  return (logits.rows.cols + kChunkCols - 1) / kChunkCols;
}

LaunchShape chunks_of(const StoredLogits& logits, int shared_bytes) {
  return {.grid_x = logits.rows.rows,
          .grid_y = num_chunks(logits),
          .threads = kThreads,
          .shared_bytes = shared_bytes};
}

// Cuts scratch memory into arrays.
class Cutter {
 public:
  template <typename T>
  std::int64_t take(std::int64_t count) {
    const std::int64_t begin = num_bytes_;
    num_bytes_ += round_up(count * static_cast<std::int64_t>(sizeof(T)), 256);
    return begin;
  }
  std::int64_t num_bytes() const { return num_bytes_; }

 private:
  std::int64_t num_bytes_ = 0;
};

}  // namespace

void logit_statistics(Context& context,
                      const StoredLogits& logits,
                      std::span<const Measure> measures,
                      std::span<LogitStatistics> statistics) {
  const std::int64_t rows = logits.rows.rows;
  if (rows == 0) return;
  const bool any_top = std::any_of(measures.begin(), measures.end(),
                                   [](const Measure& m) { return m.num_alternatives > 0; });
  const std::int64_t keys = any_top ? num_chunks(logits) * kMaxAlternatives : 0;
  Cutter cutter;
  const auto parts_at =
      cutter.take<MeasurePartial>(rows * num_measure_parts(logits.rows.cols, logits.row_leaves));
  const auto partials_at = cutter.take<MeasurePartial>(rows);
  const auto tops_at = cutter.take<LogitKey>(rows * keys);
  const auto results_at = cutter.take<LogitStatistics>(rows);
  std::byte* scratch = context.scratch(cutter.num_bytes());
  auto* partials = reinterpret_cast<MeasurePartial*>(scratch + partials_at);
  auto* tops = reinterpret_cast<LogitKey*>(scratch + tops_at);
  auto* results = reinterpret_cast<LogitStatistics*>(scratch + results_at);
  const Measure* staged = context.stage(measures);
  measure_rows(context,
               {.logits = logits.rows,
                .row_leaves = logits.row_leaves,
                .vocabulary = {logits.first_id, std::numeric_limits<std::int32_t>::max(), -1},
                .measures = staged,
                .are_penalised = true},
               reinterpret_cast<MeasurePartial*>(scratch + parts_at), partials);
  if (any_top) {
    launch(&top_of_chunk_kernel, chunks_of(logits, SharedMemory::bytes_of<LogitKey>(kWarps)),
           context.stream(), rows_of(logits), staged, tops);
  }
  launch(&statistics_kernel, {.grid_x = rows, .grid_y = 1, .threads = kWarpSize, .shared_bytes = 0},
         context.stream(), partials, tops, static_cast<int>(keys), results);
  context.copy(results, statistics.data(), static_cast<std::int64_t>(statistics.size_bytes()));
}

void count_digits(Context& context,
                  const StoredLogits& logits,
                  std::span<const DigitQuery> queries,
                  std::span<DigitBin> bins) {
  if (logits.rows.rows == 0) return;
  const auto num_bytes = static_cast<std::int64_t>(bins.size_bytes());
  auto* results = reinterpret_cast<DigitBin*>(context.scratch(num_bytes));
  launch(&clear_bins_kernel,
         {.grid_x = logits.rows.rows, .grid_y = 1, .threads = kNumDigits, .shared_bytes = 0},
         context.stream(), results);
  launch(&count_digits_kernel, chunks_of(logits, 2 * SharedMemory::bytes_of<Count>(kNumDigits)),
         context.stream(), rows_of(logits), context.stage(queries), results);
  context.copy(results, bins.data(), num_bytes);
}

void drop_logits(Context& context, const StoredLogits& logits, std::span<const LogitKey> cuts) {
  launch(&drop_kernel, chunks_of(logits, 0), context.stream(), rows_of(logits),
         context.stage(cuts));
}

}  // namespace tessera::kernels::cuda
