#include "kernels/filtered_measure.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "kernels/measure_row.h"
#include "kernels/partition.h"

namespace tessera::kernels {
namespace {

constexpr int kKeyRounds = 8;    // digits of a key
constexpr int kLogitRounds = 4;  // digits of its logit
constexpr int kFirstShift = 56;

// Radix select in progress. `above` is the count or mass of the keys over those that start with
// `prefix`; the select ends at the digit where it passes `limit`.
struct Select {
  LogitKey prefix = 0;
  std::uint64_t above = 0;
  std::uint64_t limit = 0;
  bool active = false;
  LogitKey cut = 0;  // smallest key that is kept
};

enum class Criterion { kMass, kCount };

LogitStatistics merge_rows(const LogitStatistics& left, const LogitStatistics& right) {
  LogitStatistics merged = left;
  merged.partial = merge(left.partial, right.partial);
  merge_top(merged.top, right.top);
  return merged;
}

// The buffers of a call, cut from the caller's workspace, and what the passes share.
struct Job {
  Backend& backend;
  StoredLogits logits;
  std::span<const Measure> measures;
  ShardGroup& group;
  std::span<LogitStatistics> mine;      // [rows]
  std::span<LogitStatistics> gathered;  // [shards, rows]
  std::span<LogitStatistics> whole;     // [rows] before the cut
  std::span<Select> selects;            // [rows]
  std::span<DigitQuery> queries;        // [rows]
  std::span<LogitKey> cuts;             // [rows]
  std::span<DigitBin> bins;             // [rows, kNumDigits]

  bool is_sampled(std::size_t i) const {
    return measures[i].kind == MeasureKind::kSampled && measures[i].temperature > 0.0F;
  }
  std::span<const DigitBin> bins_of(std::size_t i) const {
    return bins.subspan(i * kNumDigits, kNumDigits);
  }
};

// Statistics of every row over the whole vocabulary into job.mine: leaves, then ranks, in tree
// order.
void collect(const Job& job) {
  job.backend.logit_statistics(job.logits, job.measures, job.mine);
  job.group.all_gather(std::as_bytes(job.mine), std::as_writable_bytes(job.gathered));
  const std::size_t rows = job.measures.size();
  for_each_branch(job.group.num_shards(), [&](std::int32_t left, std::int32_t right) {
    for (std::size_t i = 0; i < rows; ++i) {
      auto& sum = job.gathered[static_cast<std::size_t>(left) * rows + i];
      sum = merge_rows(sum, job.gathered[static_cast<std::size_t>(right) * rows + i]);
    }
  });
  std::copy_n(job.gathered.begin(), rows, job.mine.begin());
}

// Counts and masses by digit of the undecided keys, summed over ranks.
void fill_bins(const Job& job, int shift) {
  for (std::size_t i = 0; i < job.selects.size(); ++i) {
    job.queries[i] = {job.selects[i].prefix, job.whole[i].partial.max_logit,
                      effective_temperature(job.measures[i]), shift, job.selects[i].active};
  }
  job.backend.count_digits(job.logits, job.queries, job.bins);
  job.group.sum({reinterpret_cast<std::uint64_t*>(job.bins.data()), job.bins.size() * 2});
}

// Moves a select on to the digit where it passes its limit. Ends it if nothing passes (every key
// is kept).
void descend(std::span<const DigitBin> bins, Criterion criterion, Select& select) {
  for (std::size_t digit = bins.size(); digit-- > 0;) {
    const std::uint64_t amount =
        criterion == Criterion::kMass ? bins[digit].mass : bins[digit].count;
    if (amount > 0 && select.above + amount > select.limit) {
      select.prefix = (select.prefix << 8) | digit;
      return;
    }
    select.above += amount;
  }
  select.active = false;
}

// Runs the active selects to their last digit; false afterwards in `active` of those without a cut.
void run_selects(const Job& job, Criterion criterion, int rounds) {
  const auto is_active = [](const Select& select) { return select.active; };
  for (int round = 0; round < rounds; ++round) {
    if (std::none_of(job.selects.begin(), job.selects.end(), is_active)) return;
    fill_bins(job, kFirstShift - 8 * round);
    for (std::size_t i = 0; i < job.selects.size(); ++i) {
      if (job.selects[i].active) {
        descend(job.bins_of(i), criterion, job.selects[i]);
      }
    }
  }
}

void restart(Select& select, bool active, std::uint64_t limit) {
  select = {0, 0, limit, active, select.cut};
}

// top_p: the first key whose cumulative mass passes the limit is dropped, unless it is the first.
void cut_by_mass(const Job& job) {
  bool any = false;
  for (std::size_t i = 0; i < job.selects.size(); ++i) {
    restart(job.selects[i], job.is_sampled(i) && job.measures[i].top_p < 1.0F, 0);
    any = any || job.selects[i].active;
  }
  if (!any) return;
  fill_bins(job, kFirstShift);
  const std::size_t rows = job.selects.size();
  for (std::size_t i = 0; i < rows; ++i) {
    std::uint64_t total = 0;
    for (const DigitBin& bin : job.bins_of(i)) total += bin.mass;
    job.selects[i].limit =
        static_cast<std::uint64_t>(double{job.measures[i].top_p} * static_cast<double>(total));
  }
  run_selects(job, Criterion::kMass, kKeyRounds);
  for (std::size_t i = 0; i < rows; ++i) {
    Select& select = job.selects[i];
    const MeasurePartial& top = job.whole[i].partial;
    const LogitKey first = key_of(static_cast<float>(top.max_logit), top.greedy_token);
    if (select.active) select.cut = std::min(select.prefix + 1, first);
  }
}

// top_k: the k-th largest logit and its equals are kept. Applied to all ids: those that top_p
// dropped lie below its cut anyway.
void cut_by_count(const Job& job) {
  for (std::size_t i = 0; i < job.selects.size(); ++i) {
    const std::int32_t top_k = job.measures[i].top_k;
    restart(job.selects[i], job.is_sampled(i) && top_k > 0,
            static_cast<std::uint64_t>(std::max(top_k, 1) - 1));
  }
  run_selects(job, Criterion::kCount, kLogitRounds);
  for (Select& select : job.selects) {
    if (select.active) select.cut = std::max(select.cut, select.prefix << 32);
  }
}

void drop_below_cut(const Job& job) {
  for (std::size_t i = 0; i < job.selects.size(); ++i) job.cuts[i] = job.selects[i].cut;
  job.backend.drop_logits(job.logits, job.cuts);
}

void report(const Job& job, std::size_t i, Measurement& result) {
  const MeasurePartial& whole = job.whole[i].partial;
  MeasurePartial kept = job.mine[i].partial;
  kept.plain_sum = whole.plain_sum;
  std::vector<Alternative> alternatives = std::move(result.alternatives);
  alternatives.clear();
  result = finish(kept, job.measures[i]);
  for (std::int32_t j = 0; j < job.measures[i].num_alternatives; ++j) {
    const LogitKey key = job.whole[i].top[static_cast<std::size_t>(j)];
    if (key == 0) break;
    const double distance = static_cast<double>(logit_of(key)) - whole.max_logit;
    alternatives.push_back({static_cast<TokenId>(key & 0xFFFFFFFFU),
                            static_cast<float>(std::exp(distance) / whole.plain_sum)});
  }
  result.alternatives = std::move(alternatives);
}

template <typename T>
std::span<T> take(std::span<std::byte>& workspace, std::size_t count) {
  auto* first = reinterpret_cast<T*>(workspace.data());
  std::uninitialized_fill_n(first, count, T{});
  workspace = workspace.subspan(count * sizeof(T));
  return {first, count};
}

}  // namespace

bool needs_logits(const Measure& measure) {
  const bool filtered = measure.kind == MeasureKind::kSampled && measure.temperature > 0.0F &&
                        (measure.top_p < 1.0F || measure.top_k > 0);
  return filtered || measure.num_alternatives > 0;
}

std::int64_t filtered_measure_workspace_bytes(std::int64_t num_rows, std::int32_t num_shards) {
  const auto row_bytes = static_cast<std::int64_t>(
      sizeof(LogitStatistics) * (2 + static_cast<std::size_t>(num_shards)) + sizeof(Select) +
      sizeof(DigitQuery) + sizeof(LogitKey) + sizeof(DigitBin) * kNumDigits);
  return num_rows * row_bytes;
}

void filtered_measure(Backend& backend,
                      const StoredLogits& logits,
                      std::span<const Measure> measures,
                      ShardGroup& group,
                      std::span<std::byte> workspace,
                      std::span<Measurement> results) {
  const std::size_t rows = measures.size();
  const MatrixView& matrix = logits.rows;
  TESSERA_REQUIRE(matrix.dtype == DType::kFloat32 && results.size() == rows &&
                      matrix.rows == static_cast<std::int64_t>(rows) && logits.row_leaves >= 1 &&
                      matrix.cols % logits.row_leaves == 0,
                  "filtered_measure: logits of ", matrix.rows, " x ", matrix.cols, " in ",
                  logits.row_leaves, " leaves for ", rows, " measures");
  const auto needed = filtered_measure_workspace_bytes(matrix.rows, group.num_shards());
  TESSERA_REQUIRE(static_cast<std::int64_t>(workspace.size()) >= needed,
                  "filtered_measure: workspace of ", workspace.size(), " bytes, not ", needed);
  if (rows == 0) return;
  const auto shards = static_cast<std::size_t>(group.num_shards());
  const Job job{backend,
                logits,
                measures,
                group,
                take<LogitStatistics>(workspace, rows),
                take<LogitStatistics>(workspace, rows * shards),
                take<LogitStatistics>(workspace, rows),
                take<Select>(workspace, rows),
                take<DigitQuery>(workspace, rows),
                take<LogitKey>(workspace, rows),
                take<DigitBin>(workspace, rows * kNumDigits)};
  collect(job);
  std::copy(job.mine.begin(), job.mine.end(), job.whole.begin());
  cut_by_mass(job);
  cut_by_count(job);
  drop_below_cut(job);
  collect(job);
  for (std::size_t i = 0; i < rows; ++i) report(job, i, results[i]);
}

}  // namespace tessera::kernels
