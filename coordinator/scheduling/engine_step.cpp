#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "coordinator/scheduling/admission.h"
#include "coordinator/scheduling/engine_impl.h"
#include "coordinator/scheduling/row_selection.h"

namespace tessera {
namespace {

/// Takes rows [remaining.first, end) out of the pending forward.
Span cut_off(PendingForward& forward, Position end) {
  if (end == forward.remaining().end()) {
    if (forward.rest) return std::move(*forward.rest);
    return forward.whole;  // a copy: `apply` needs it too
  }
  Span piece = leading_piece(forward.remaining(), end);
  forward.rest = remaining_piece(forward.remaining(), end);
  return piece;
}

/// End of the positions without gap that are stored once `piece` has run after [0, stored_len).
Position stored_end_after(const Span& piece, Position stored_len) {
  for (const PositionRange& range : piece.stores) {
    if (range.begin > stored_len) break;
    stored_len = std::max(stored_len, range.end);
  }
  return stored_len;
}

}  // namespace

std::optional<StepPlan> Engine::Impl::next_step(ReplicaId id) {
  const auto found = replicas_.find(id);
  TESSERA_CHECK(found != replicas_.end(), "replica ", id, " is not there");
  Replica& replica = found->second;
  if (replica.outstanding) return std::nullopt;
  admit_waiting();
  prepare_forwards(replica);
  while (!replica.running.empty()) {
    select_rows(replica, options_.max_step_rows);
    if (cover_selected(replica)) return emit(replica);
    // Pages are short and the first request, for which all others would make room, was not among
    // those selected.
    select_first_alone(replica, options_.max_step_rows);
    if (cover_selected(replica)) return emit(replica);
    fail(*replica.running.front(),
         {FailureReason::kInvalid, "the sequence outgrew all KV pages of its replica"});
  }
  return std::nullopt;
}

void Engine::Impl::admit_waiting() {
  if (!may_admit_) return;
  may_admit_ = false;
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    RequestRecord& record = **next;
    if (!fits_some_replica(record)) {
      ++next;  // waits for a larger replica, and must not block those behind it
      continue;
    }
    const auto placement = place(record, replicas_, options_);
    if (!placement) return;
    next = waiting_.erase(next);
    admit(record, *placement->replica, placement->hit);
  }
}

void Engine::Impl::admit(RequestRecord& record, Replica& replica, const PrefixHit& hit) {
  const auto cached_len = static_cast<Position>(hit.pages.size()) * options_.page_size;
  stats_.prefix_lookup_tokens += static_cast<std::uint64_t>(record.replaceable_len());
  stats_.prefix_hit_tokens += static_cast<std::uint64_t>(cached_len);
  replica.tables.attach(record, hit);
  record.replica = replica.id;
  record.num_prefill_pages = num_prefill_pages(record, replica.tables);
  Sequence& sequence = record.sequence;
  if (record.has_decoded()) {
    auto spans = record.request.strategy->rebuild(sequence, cached_len);
    record.rebuild.assign(std::make_move_iterator(spans.begin()),
                          std::make_move_iterator(spans.end()));
  } else if (sequence.cached_len != cached_len) {
    sequence.tokens.resize(static_cast<std::size_t>(sequence.prompt_len));
    sequence = record.request.strategy->start(std::move(sequence.tokens), record.request.sampling,
                                              record.request.limits, cached_len);
  }
  if (!record.was_admitted) {
    record.was_admitted = true;
    record.usage.cached_tokens = cached_len;
    stats_.prompt_tokens_cached += static_cast<std::uint64_t>(cached_len);
  }
  replica.reserved_rows += record.traits().max_buffer_rows;
  replica.running.insert(std::ranges::upper_bound(replica.running, &record, ByServiceOrder{}),
                         &record);
}

void Engine::Impl::prepare_forwards(Replica& replica) {
  for (RequestRecord* record : replica.running) {
    if (record->forward) continue;
    if (record->rebuild.empty()) {
      record->forward = {record->request.strategy->plan(record->sequence), {}, false};
    } else {
      record->forward = {std::move(record->rebuild.front()), {}, true};
      record->rebuild.pop_front();
    }
  }
}

bool Engine::Impl::cover_selected(Replica& replica) {
  bool any = false;
  for (std::size_t i = 0; i < replica.running.size(); ++i) {
    RequestRecord& record = *replica.running[i];
    if (record.piece_end == 0) continue;
    // Only later requests make room: an older one never loses pages to a newer one.
    bool is_covered = replica.tables.cover(record, record.forward->remaining(), record.piece_end);
    while (!is_covered && preempt_after(replica, i)) {
      is_covered = replica.tables.cover(record, record.forward->remaining(), record.piece_end);
    }
    if (!is_covered) record.piece_end = 0;  // keeps its pages and tries again next time
    any |= is_covered;
  }
  return any;
}

bool Engine::Impl::preempt_after(Replica& replica, std::size_t index) {
  for (std::size_t i = replica.running.size() - 1; i > index; --i) {
    RequestRecord& victim = *replica.running[i];
    if (victim.pages.empty()) continue;
    leave_replica(victim);
    waiting_.insert(&victim);
    ++victim.usage.num_preemptions;
    ++stats_.preemptions;
    return true;
  }
  return false;
}

StepPlan Engine::Impl::emit(Replica& replica) {
  StepPlan plan;
  plan.epoch = replica.epoch;
  plan.step = ++replica.last_step;
  plan.released = std::exchange(replica.released, {});
  replica.outstanding = OutstandingStep{plan.step, {}};
  const TimePoint now = clock_.now();
  for (RequestRecord* record : replica.running) {
    if (record->piece_end != 0) {
      if (!std::exchange(record->was_stepped, true)) record->usage.queued = now - record->submitted;
      record->is_known_to_ranks = true;
      plan.spans.push_back(emit_span(replica, *record));
    }
    // Also of those without rows: a page they gave back may have a new holder in this step.
    if (!record->is_known_to_ranks) continue;
    if (auto delta = replica.tables.take_delta(*record)) {
      plan.page_table_deltas.push_back(std::move(*delta));
    }
  }
  ++stats_.steps;
  return plan;
}

SequenceSpan Engine::Impl::emit_span(Replica& replica, RequestRecord& record) {
  PendingForward& forward = *record.forward;
  const bool is_last_piece = record.piece_end == forward.remaining().end();
  SequenceSpan sent{record.id(), cut_off(forward, record.piece_end)};
  replica.outstanding->spans.push_back({record.id(), sent.span.measures.size(),
                                        stored_end_after(sent.span, record.stored_len),
                                        is_last_piece});
  count_forward(record, sent.span);
  if (!record.is_rebuilding()) count_rows(record, sent.span);
  return sent;
}

void Engine::Impl::count_forward(const RequestRecord& record, const Span& piece) {
  if (record.is_rebuilding()) {
    ++stats_.forwards_rebuild;
  } else if (!record.has_decoded()) {
    ++stats_.forwards_prefill;
    stats_.prompt_tokens_computed += static_cast<std::uint64_t>(
        std::max(std::min(piece.end(), record.sequence.prompt_len) - piece.first, 0));
  } else if (piece.measures.empty()) {
    ++stats_.forwards_store_only;
  } else {
    ++stats_.forwards_denoise;
  }
}

void Engine::Impl::count_rows(const RequestRecord& record, const Span& piece) {
  const std::int32_t prompt_end = record.has_decoded() ? piece.first : record.sequence.prompt_len;
  const std::int32_t num_prompt = std::max(std::min(piece.end(), prompt_end) - piece.first, 0);
  // A measured row may be one of the prompt: that of the first token of a shifted model.
  const auto num_measured =
      std::min(static_cast<std::int32_t>(piece.measures.size()), piece.num_rows() - num_prompt);
  const std::int32_t num_decided = piece.num_rows() - num_prompt - num_measured;
  stats_.rows_prompt += static_cast<std::uint64_t>(num_prompt);
  stats_.rows_masked += static_cast<std::uint64_t>(num_measured);
  stats_.rows_decided += static_cast<std::uint64_t>(num_decided);
  if (num_measured + num_decided > 0) {
    stats_.rows_buffer += static_cast<std::uint64_t>(record.traits().max_buffer_rows);
  }
}

void Engine::Impl::apply(ReplicaId id, const StepResult& result) {
  const auto found = replicas_.find(id);
  if (found == replicas_.end()) return;
  Replica& replica = found->second;
  if (result.epoch != replica.epoch || !replica.outstanding ||
      result.step != replica.outstanding->step) {
    return;
  }
  check_result(*replica.outstanding, result);
  const OutstandingStep step = std::move(*replica.outstanding);
  replica.outstanding.reset();
  for (std::size_t i = 0; i < step.spans.size(); ++i) {
    RequestRecord* record = find(step.spans[i].request);
    if (record != nullptr) advance(replica, *record, step.spans[i], result.spans[i]);
  }
}

void Engine::Impl::check_result(const OutstandingStep& expected, const StepResult& result) {
  TESSERA_CHECK_TRANSPORT(result.spans.size() == expected.spans.size(), "step ", result.step,
                          ": results of ", result.spans.size(), " spans instead of ",
                          expected.spans.size());
  for (std::size_t i = 0; i < expected.spans.size(); ++i) {
    const OutstandingSpan& sent = expected.spans[i];
    const SpanResult& got = result.spans[i];
    TESSERA_CHECK_TRANSPORT(got.request == sent.request, "step ", result.step, ": a result for ",
                            "request ", got.request, " in the place of ", sent.request);
    TESSERA_CHECK_TRANSPORT(got.measurements.size() == sent.num_measures, "request ", sent.request,
                            ": ", got.measurements.size(), " measurements instead of ",
                            sent.num_measures);
    const RequestRecord* record = find(sent.request);
    for (std::size_t m = 0; m < sent.num_measures; ++m) {
      const Measurement& measurement = got.measurements[m];
      TESSERA_CHECK_TRANSPORT(measurement.token >= 0 && measurement.token < options_.vocab_size,
                              "request ", sent.request, ": token ", measurement.token,
                              " of a vocabulary of ", options_.vocab_size);
      TESSERA_CHECK_TRANSPORT(
          record == nullptr || measurement.position == record->forward->whole.measures[m].position,
          "request ", sent.request, ": a measurement of position ", measurement.position);
    }
  }
}

void Engine::Impl::advance(Replica& replica,
                           RequestRecord& record,
                           const OutstandingSpan& sent,
                           const SpanResult& result) {
  record.stored_len = sent.stored_end;
  StepOutcome outcome;
  bool is_step = false;
  if (sent.is_last_piece) {
    const PendingForward forward = std::move(*record.forward);
    record.forward.reset();
    is_step = !forward.is_rebuild;
    if (is_step) {
      record.usage.num_store_only_steps += forward.whole.measures.empty() ? 1 : 0;
      outcome = record.request.strategy->apply(record.sequence, forward.whole, result.measurements);
    }
  }
  if (replica.tables.register_final(record)) may_admit_ = true;
  if (is_step) report(record, std::move(outcome));
}

void Engine::Impl::report(RequestRecord& record, StepOutcome outcome) {
  SequenceUpdate update = record.take_news();
  if (record.request.wants_edits) update.writes = std::move(outcome.writes);
  stats_.output_tokens += update.frozen.size();
  const bool is_finished = update.is_last();
  if (is_finished || !update.frozen.empty() || !update.writes.empty()) {
    updates_.push_back(std::move(update));
  }
  if (is_finished) forget(record);
}

}  // namespace tessera
