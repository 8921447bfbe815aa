#include "coordinator/scheduling/row_selection.h"

#include <algorithm>

namespace tessera {
namespace {

void clear_selection(Replica& replica) {
  for (RequestRecord* record : replica.running) record->piece_end = 0;
}

/// Fills a step with pieces until one of them has to run alone.
class RowBudget {
 public:
  explicit RowBudget(std::int32_t max_rows) : rows_left_(max_rows) {}

  /// Whether the request got rows.
  bool take(RequestRecord& record) {
    if (is_closed_) return false;
    const Span& span = record.forward->remaining();
    const std::int32_t quantum = record.traits().chunk_quantum;
    auto end = longest_piece_end(span, quantum, rows_left_);
    if (!end && is_empty_) {
      end = shortest_piece_end(span, quantum);
      is_closed_ = true;
    }
    if (!end) return false;
    record.piece_end = *end;
    rows_left_ -= *end - span.first;
    is_empty_ = false;
    return true;
  }

 private:
  std::int32_t rows_left_;
  bool is_empty_ = true;
  bool is_closed_ = false;
};

}  // namespace

std::optional<Position> longest_piece_end(const Span& span,
                                          std::int32_t quantum,
                                          std::int32_t max_rows) {
  if (span.num_rows() <= max_rows) return span.end();
  if (quantum == 0 || span.mask == MaskKind::kCacheOnly) return std::nullopt;
  const Position last = span.first + std::min(max_rows, num_leading_stored(span));
  const Position cut = last / quantum * quantum;
  if (cut <= span.first) return std::nullopt;
  return cut;
}

Position shortest_piece_end(const Span& span, std::int32_t quantum) {
  if (quantum == 0 || span.mask == MaskKind::kCacheOnly) return span.end();
  const Position cut = (span.first / quantum + 1) * quantum;
  const bool is_legal = cut < span.end() && cut <= span.first + num_leading_stored(span);
  return is_legal ? cut : span.end();
}

void select_rows(Replica& replica, std::int32_t max_rows) {
  clear_selection(replica);
  RowBudget budget(max_rows);
  bool passed_over_ran = false;
  if (replica.passed_over) {
    const auto found = std::ranges::find(replica.running, *replica.passed_over, &RequestRecord::id);
    passed_over_ran = found != replica.running.end() && budget.take(**found);
  }
  replica.passed_over.reset();
  const RequestRecord* first_without_room = nullptr;
  for (const bool prefilling : {false, true}) {
    bool group_has_rows = false;
    for (RequestRecord* record : replica.running) {
      if (record->piece_end != 0 || record->is_prefilling() != prefilling) continue;
      if (budget.take(*record)) {
        group_has_rows = true;
      } else if (!group_has_rows && first_without_room == nullptr) {
        first_without_room = record;
      }
    }
  }
  if (first_without_room != nullptr && !passed_over_ran) {
    replica.passed_over = first_without_room->id();
  }
}

void select_first_alone(Replica& replica, std::int32_t max_rows) {
  clear_selection(replica);
  RowBudget(max_rows).take(*replica.running.front());
}

}  // namespace tessera
