#include "kernels/filtered_measure.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "kernels/measure_row.h"
#include "kernels/partition.h"

namespace tessera::kernels {
namespace {

using Key = std::uint64_t;
constexpr std::size_t kNumDigits = 256;
constexpr int kKeyRounds = 8;    // digits of a key
constexpr int kLogitRounds = 4;  // digits of its logit
constexpr float kExcluded = -std::numeric_limits<float>::infinity();
constexpr double kMassUnit = 0x1p40;  // a sum over 2^23 ids stays below 2^63

struct Candidate {
  Key key = 0;
  float logit = 0.0F;
  TokenId id = -1;
};

// A row before the cut: its statistics and its most probable ids, descending by key.
struct RowStatistics {
  MeasurePartial partial;
  std::int32_t num_top = 0;
  std::array<Candidate, kMaxAlternatives> top;
};

// Radix select in progress. `above` is the count or mass of the keys over those that start with
// `prefix`; the select ends at the digit where it passes `limit`.
struct Select {
  Key prefix = 0;
  std::uint64_t above = 0;
  std::uint64_t limit = 0;
  bool active = false;
  Key cut = 0;  // smallest key that is kept
};

struct Bin {
  std::uint64_t count = 0;
  std::uint64_t mass = 0;
};

enum class Criterion { kMass, kCount };

// Larger logit, then larger id, is the larger key. -0 ties with +0.
Key key_of(float logit, TokenId id) {
  const auto bits = std::bit_cast<std::uint32_t>(logit + 0.0F);
  const std::uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return (Key{ordered} << 32) | static_cast<std::uint32_t>(id);
}

void insert_top(RowStatistics& row, const Candidate& candidate) {
  const auto end = row.top.begin() + row.num_top;
  const auto at =
      std::find_if(row.top.begin(), end, [&](const Candidate& c) { return c.key < candidate.key; });
  if (at == row.top.end()) return;
  row.num_top = std::min(row.num_top + 1, kMaxAlternatives);
  std::move_backward(at, row.top.begin() + row.num_top - 1, row.top.begin() + row.num_top);
  *at = candidate;
}

RowStatistics merge_rows(const RowStatistics& left, const RowStatistics& right) {
  RowStatistics merged = left;
  merged.partial = merge(left.partial, right.partial);
  for (std::int32_t i = 0; i < right.num_top; ++i) {
    insert_top(merged, right.top[static_cast<std::size_t>(i)]);
  }
  return merged;
}

// The buffers of a call, cut from the caller's workspace, and what the passes share.
struct Job {
  MatrixView logits;
  std::int32_t row_leaves;
  TokenId first_id;
  std::span<const Measure> measures;
  ShardGroup& group;
  std::span<RowStatistics> mine;      // [rows]
  std::span<RowStatistics> gathered;  // [shards, rows]
  std::span<RowStatistics> whole;     // [rows] before the cut
  std::span<Select> selects;          // [rows]
  std::span<Bin> bins;                // [rows, kNumDigits]

  std::span<float> row(std::size_t i) const {
    return {static_cast<float*>(logits.row(static_cast<std::int64_t>(i))),
            static_cast<std::size_t>(logits.cols)};
  }
  TokenId id(std::size_t column) const { return first_id + static_cast<TokenId>(column); }
  bool is_sampled(std::size_t i) const {
    return measures[i].kind == MeasureKind::kSampled && measures[i].temperature > 0.0F;
  }
  std::uint64_t mass(std::size_t i, float logit) const {
    const double distance = logit - whole[i].partial.max_logit;
    return static_cast<std::uint64_t>(std::exp(distance / effective_temperature(measures[i])) *
                                      kMassUnit);
  }
};

// Statistics of every row over the whole vocabulary into job.mine: leaves, then ranks, in tree
// order.
void collect(const Job& job) {
  const std::size_t leaf = static_cast<std::size_t>(job.logits.cols / job.row_leaves);
  for (std::size_t i = 0; i < job.measures.size(); ++i) {
    std::array<RowStatistics, kNumLeaves> leaves;
    for (std::size_t l = 0; l < static_cast<std::size_t>(job.row_leaves); ++l) {
      const auto part = job.row(i).subspan(l * leaf, leaf);
      leaves[l].partial = measure_leaf(part, job.id(l * leaf), job.measures[i]);
      for (std::size_t v = 0; v < leaf && job.measures[i].num_alternatives > 0; ++v) {
        const TokenId id = job.id(l * leaf + v);
        if (part[v] > kExcluded) insert_top(leaves[l], {key_of(part[v], id), part[v], id});
      }
    }
    for_each_branch(job.row_leaves, [&](std::int32_t left, std::int32_t right) {
      auto& sum = leaves[static_cast<std::size_t>(left)];
      sum = merge_rows(sum, leaves[static_cast<std::size_t>(right)]);
    });
    job.mine[i] = leaves[0];
  }
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
  std::fill(job.bins.begin(), job.bins.end(), Bin{});
  for (std::size_t i = 0; i < job.measures.size(); ++i) {
    const Select& select = job.selects[i];
    if (!select.active) continue;
    const auto row = job.row(i);
    for (std::size_t v = 0; v < row.size(); ++v) {
      if (!(row[v] > kExcluded)) continue;
      const Key digits = key_of(row[v], job.id(v)) >> shift;
      if (digits >> 8 != select.prefix) continue;
      Bin& bin = job.bins[i * kNumDigits + (digits & 0xFFU)];
      bin.count += 1;
      bin.mass += job.mass(i, row[v]);
    }
  }
  job.group.sum({reinterpret_cast<std::uint64_t*>(job.bins.data()), job.bins.size() * 2});
}

// Moves a select on to the digit where it passes its limit. Ends it if nothing passes (every key
// is kept).
void descend(std::span<const Bin> bins, Criterion criterion, Select& select) {
  for (std::size_t digit = kNumDigits; digit-- > 0;) {
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
    fill_bins(job, 56 - 8 * round);
    for (std::size_t i = 0; i < job.selects.size(); ++i) {
      if (job.selects[i].active) {
        descend(job.bins.subspan(i * kNumDigits, kNumDigits), criterion, job.selects[i]);
      }
    }
  }
}

void restart(Select& select, bool active, std::uint64_t limit) {
  select = {0, 0, limit, active, select.cut};
}

// top_p: the first key whose cumulative mass passes the limit is dropped, unless it is the first.
void cut_by_mass(const Job& job) {
  for (std::size_t i = 0; i < job.selects.size(); ++i) {
    restart(job.selects[i], job.is_sampled(i) && job.measures[i].top_p < 1.0F, 0);
    Bin& total = job.bins[i];
    total = {};
    if (!job.selects[i].active) continue;
    for (const float logit : job.row(i)) {
      if (logit > kExcluded) total.mass += job.mass(i, logit);
    }
  }
  const std::size_t rows = job.selects.size();
  job.group.sum({reinterpret_cast<std::uint64_t*>(job.bins.data()), rows * 2});
  for (std::size_t i = 0; i < rows; ++i) {
    job.selects[i].limit = static_cast<std::uint64_t>(double{job.measures[i].top_p} *
                                                      static_cast<double>(job.bins[i].mass));
  }
  run_selects(job, Criterion::kMass, kKeyRounds);
  for (std::size_t i = 0; i < rows; ++i) {
    Select& select = job.selects[i];
    const MeasurePartial& top = job.whole[i].partial;
    const Key first = key_of(static_cast<float>(top.max_logit), top.greedy_token);
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
  for (std::size_t i = 0; i < job.selects.size(); ++i) {
    if (job.selects[i].cut == 0) continue;
    const auto row = job.row(i);
    for (std::size_t v = 0; v < row.size(); ++v) {
      if (key_of(row[v], job.id(v)) < job.selects[i].cut) row[v] = kExcluded;
    }
  }
}

void report(const Job& job, std::size_t i, Measurement& result) {
  const MeasurePartial& whole = job.whole[i].partial;
  MeasurePartial kept = job.mine[i].partial;
  kept.plain_sum = whole.plain_sum;
  std::vector<Alternative> alternatives = std::move(result.alternatives);
  alternatives.clear();
  result = finish(kept, job.measures[i]);
  const auto wanted = std::min(job.measures[i].num_alternatives, job.whole[i].num_top);
  for (std::int32_t j = 0; j < wanted; ++j) {
    const Candidate& candidate = job.whole[i].top[static_cast<std::size_t>(j)];
    const double distance = static_cast<double>(candidate.logit) - whole.max_logit;
    alternatives.push_back(
        {candidate.id, static_cast<float>(std::exp(distance) / whole.plain_sum)});
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
  const auto row_bytes =
      static_cast<std::int64_t>(sizeof(RowStatistics) * (2 + static_cast<std::size_t>(num_shards)) +
                                sizeof(Select) + sizeof(Bin) * kNumDigits);
  return num_rows * row_bytes;
}

void filtered_measure(MatrixView logits,
                      std::int32_t row_leaves,
                      TokenId first_id,
                      std::span<const Measure> measures,
                      ShardGroup& group,
                      std::span<std::byte> workspace,
                      std::span<Measurement> results) {
  const std::size_t rows = measures.size();
  TESSERA_REQUIRE(logits.dtype == DType::kFloat32 && results.size() == rows &&
                      logits.rows == static_cast<std::int64_t>(rows) && row_leaves >= 1 &&
                      logits.cols % row_leaves == 0,
                  "filtered_measure: logits of ", logits.rows, " x ", logits.cols, " in ",
                  row_leaves, " leaves for ", rows, " measures");
  const auto needed = filtered_measure_workspace_bytes(logits.rows, group.num_shards());
  TESSERA_REQUIRE(static_cast<std::int64_t>(workspace.size()) >= needed,
                  "filtered_measure: workspace of ", workspace.size(), " bytes, not ", needed);
  if (rows == 0) return;
  const auto shards = static_cast<std::size_t>(group.num_shards());
  const Job job{logits,
                row_leaves,
                first_id,
                measures,
                group,
                take<RowStatistics>(workspace, rows),
                take<RowStatistics>(workspace, rows * shards),
                take<RowStatistics>(workspace, rows),
                take<Select>(workspace, rows),
                take<Bin>(workspace, rows * kNumDigits)};
  collect(job);
  std::copy(job.mine.begin(), job.mine.end(), job.whole.begin());
  cut_by_mass(job);
  cut_by_count(job);
  drop_below_cut(job);
  collect(job);
  for (std::size_t i = 0; i < rows; ++i) report(job, i, results[i]);
}

}  // namespace tessera::kernels
