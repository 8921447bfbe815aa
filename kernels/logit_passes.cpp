#include "kernels/logit_passes.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "kernels/measure_row.h"
#include "kernels/partition.h"

namespace tessera::kernels {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

std::span<float> row_of(const StoredLogits& logits, std::size_t i) {
  return {static_cast<float*>(logits.rows.row(static_cast<std::int64_t>(i))),
          static_cast<std::size_t>(logits.rows.cols)};
}

TokenId id_of(const StoredLogits& logits, std::size_t column) {
  return logits.first_id + static_cast<TokenId>(column);
}

void insert_top(std::array<LogitKey, kMaxAlternatives>& top, LogitKey key) {
  const auto at = std::find_if(top.begin(), top.end(), [&](LogitKey other) { return other < key; });
  if (at == top.end()) return;
  std::move_backward(at, top.end() - 1, top.end());
  *at = key;
}

}  // namespace

void merge_top(std::array<LogitKey, kMaxAlternatives>& top,
               const std::array<LogitKey, kMaxAlternatives>& other) {
  for (const LogitKey key : other) {
    if (key != 0) insert_top(top, key);
  }
}

void logit_statistics_on_host(const StoredLogits& logits,
                              std::span<const Measure> measures,
                              std::span<LogitStatistics> statistics) {
  const auto num_leaves = static_cast<std::size_t>(logits.row_leaves);
  const std::size_t leaf = static_cast<std::size_t>(logits.rows.cols) / num_leaves;
  for (std::size_t i = 0; i < measures.size(); ++i) {
    const auto row = row_of(logits, i);
    std::array<MeasurePartial, kNumLeaves> leaves;
    for (std::size_t l = 0; l < num_leaves; ++l) {
      leaves[l] = measure_leaf(row.subspan(l * leaf, leaf), id_of(logits, l * leaf), measures[i]);
    }
    for_each_branch(logits.row_leaves, [&](std::int32_t left, std::int32_t right) {
      auto& sum = leaves[static_cast<std::size_t>(left)];
      sum = merge(sum, leaves[static_cast<std::size_t>(right)]);
    });
    statistics[i] = {leaves[0], {}};
    for (std::size_t v = 0; v < row.size() && measures[i].num_alternatives > 0; ++v) {
      if (row[v] > kExcluded) insert_top(statistics[i].top, key_of(row[v], id_of(logits, v)));
    }
  }
}

void count_digits_on_host(const StoredLogits& logits,
                          std::span<const DigitQuery> queries,
                          std::span<DigitBin> bins) {
  std::fill(bins.begin(), bins.end(), DigitBin{});
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const DigitQuery& query = queries[i];
    if (!query.active) continue;
    const auto row = row_of(logits, i);
    for (std::size_t v = 0; v < row.size(); ++v) {
      if (!(row[v] > kExcluded)) continue;
      const LogitKey digits = key_of(row[v], id_of(logits, v)) >> query.shift;
      if (digits >> 8 != query.prefix) continue;
      DigitBin& bin = bins[i * kNumDigits + (digits & 0xFFU)];
      bin.count += 1;
      bin.mass += mass_of(row[v], query);
    }
  }
}

void drop_logits_on_host(const StoredLogits& logits, std::span<const LogitKey> cuts) {
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    if (cuts[i] == 0) continue;
    const auto row = row_of(logits, i);
    for (std::size_t v = 0; v < row.size(); ++v) {
      if (key_of(row[v], id_of(logits, v)) < cuts[i]) row[v] = kExcluded;
    }
  }
}

}  // namespace tessera::kernels
