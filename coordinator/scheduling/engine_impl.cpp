#include "coordinator/scheduling/engine_impl.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"
#include "coordinator/scheduling/admission.h"

namespace tessera {
namespace {

std::int32_t max_kv_tokens_of(const Sequence& sequence, const StrategyTraits& traits) {
  const std::int32_t unit =
      std::max(traits.block_size, traits.prefix_rule ? traits.prefix_rule->unit : 1);
  return (sequence.limit + unit - 1) / unit * unit;
}

/// Most rows of the request that no scheduler may cut into smaller pieces.
std::int32_t max_uncut_rows(const RequestRecord& record) {
  const StrategyTraits& traits = record.traits();
  if (traits.chunk_quantum > 0) return std::max(traits.chunk_quantum, traits.max_buffer_rows);
  // The prompt's step is the largest: a rebuild forwards no more.
  const Span first = record.request.strategy->plan(record.sequence);
  return std::max(first.num_rows(), traits.max_buffer_rows);
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& options, const Clock& clock)
    : options_(options), clock_(clock) {
  TESSERA_REQUIRE(options.page_size >= 1, "page_size ", options.page_size, ", at least 1");
  TESSERA_REQUIRE(options.max_running_requests >= 1, "max_running_requests ",
                  options.max_running_requests, ", at least 1");
  TESSERA_REQUIRE(options.max_waiting_requests >= 0, "max_waiting_requests ",
                  options.max_waiting_requests, ", at least 0");
  TESSERA_REQUIRE(options.max_step_rows >= 1, "max_step_rows ", options.max_step_rows,
                  ", at least 1");
}

void Engine::Impl::submit(SequenceRequest request) {
  TESSERA_REQUIRE(request.strategy != nullptr, "request ", request.id, " without a strategy");
  TESSERA_REQUIRE(!records_.contains(request.id), "request id ", request.id, " is in use");
  if (auto failure = refusal()) return refuse(request, *std::move(failure));
  auto record = std::make_unique<RequestRecord>();
  record->order = {request.priority, num_submitted_++};
  record->submitted = clock_.now();
  record->request = std::move(request);
  SequenceRequest& own = record->request;
  try {
    TESSERA_REQUIRE(options_.page_size % record->traits().block_size == 0, "block_size ",
                    record->traits().block_size, " does not divide the page size of ",
                    options_.page_size);
    record->sequence =
        own.strategy->start(std::move(own.prompt), own.sampling, own.limits, /*cached_len=*/0);
    const std::int32_t uncut = max_uncut_rows(*record);
    TESSERA_REQUIRE(uncut <= options_.max_step_rows, "the request needs ", uncut,
                    " rows in one step, which its strategy forbids to cut, but max_step_rows is ",
                    options_.max_step_rows, "; shorten the prompt or use smaller blocks");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    return refuse(own, {FailureReason::kInvalid, error.what()});
  }
  own.prompt = {};
  record->max_kv_tokens = max_kv_tokens_of(record->sequence, record->traits());
  record->reusable_len = own.strategy->reusable_prefix_len(record->sequence.prompt_len);
  record->reported_end = record->sequence.prompt_len;
  record->usage.prompt_tokens = record->sequence.prompt_len;
  if (!replicas_.empty() && !fits_some_replica(*record)) {
    return refuse(own, {FailureReason::kInvalid, impossible_message(*record)});
  }
  if (own.deadline) deadlines_.emplace(*own.deadline, own.id);
  waiting_.insert(record.get());
  records_.emplace(own.id, std::move(record));
  may_admit_ = true;
}

std::optional<SequenceFailure> Engine::Impl::refusal() const {
  if (is_draining_) {
    return SequenceFailure{FailureReason::kDraining, "the server is shutting down"};
  }
  if (static_cast<std::int32_t>(waiting_.size()) >= options_.max_waiting_requests) {
    return SequenceFailure{FailureReason::kQueueFull,
                           detail::concat("the queue is full: ", waiting_.size(),
                                          " requests are waiting; try again later")};
  }
  return std::nullopt;
}

void Engine::Impl::refuse(const SequenceRequest& request, SequenceFailure failure) {
  SequenceUpdate update;
  update.id = request.id;
  update.failure = std::move(failure);
  update.usage.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  updates_.push_back(std::move(update));
}

bool Engine::Impl::fits_some_replica(const RequestRecord& record) const {
  return std::ranges::any_of(
      replicas_, [&](const auto& entry) { return could_ever_run(record, entry.second); });
}

std::string Engine::Impl::impossible_message(const RequestRecord& record) const {
  std::int64_t largest = 0;
  for (const auto& [id, replica] : replicas_) {
    largest = std::max<std::int64_t>(
        largest, std::int64_t{replica.tables.allocator().num_pages()} * options_.page_size);
  }
  const Sequence& sequence = record.sequence;
  return detail::concat("a prompt of ", sequence.prompt_len, " tokens with up to ",
                        sequence.limit - sequence.prompt_len, " output tokens needs ",
                        record.max_kv_tokens, " tokens of KV pages in blocks of ",
                        record.traits().block_size, ", but only ", largest,
                        " are there; shorten the prompt or lower max_tokens");
}

void Engine::Impl::add_replica(ReplicaId id, std::uint64_t epoch, std::int32_t num_pages) {
  TESSERA_CHECK(!replicas_.contains(id), "replica ", id, " joined twice");
  replicas_.try_emplace(id, id, epoch, num_pages, options_);
  may_admit_ = true;
  refuse_impossible();
}

void Engine::Impl::refuse_impossible() {
  std::vector<RequestRecord*> impossible;
  for (RequestRecord* record : waiting_) {
    // What already ran was accepted: it waits for a replica of the size it had.
    if (!record->was_admitted && !fits_some_replica(*record)) impossible.push_back(record);
  }
  for (RequestRecord* record : impossible) {
    fail(*record, {FailureReason::kInvalid, impossible_message(*record)});
  }
}

void Engine::Impl::remove_replica(ReplicaId id) {
  const auto node = replicas_.extract(id);
  TESSERA_CHECK(!node.empty(), "replica ", id, " is not there");
  stats_.page_evictions += node.mapped().tables.cache().num_evictions();
  for (RequestRecord* record : node.mapped().running) {
    record->stop_running();
    waiting_.insert(record);
  }
  may_admit_ = true;
}

RequestRecord* Engine::Impl::find(RequestId id) {
  const auto found = records_.find(id);
  return found == records_.end() ? nullptr : found->second.get();
}

void Engine::Impl::leave_replica(RequestRecord& record) {
  Replica& replica = replicas_.at(record.replica.value());
  replica.tables.release(record);
  std::erase(replica.running, &record);
  replica.reserved_rows -= record.traits().max_buffer_rows;
  if (record.is_known_to_ranks) replica.released.push_back(record.id());
  record.stop_running();
  may_admit_ = true;
}

void Engine::Impl::forget(RequestRecord& record) {
  if (record.replica) {
    leave_replica(record);
  } else {
    waiting_.erase(&record);
    may_admit_ = true;
  }
  if (record.request.deadline) deadlines_.erase({*record.request.deadline, record.id()});
  records_.erase(record.id());
}

void Engine::Impl::fail(RequestRecord& record, SequenceFailure failure) {
  updates_.push_back(record.failed(std::move(failure)));
  forget(record);
}

void Engine::Impl::cancel(RequestId id) {
  if (RequestRecord* record = find(id)) {
    fail(*record, {FailureReason::kCancelled, "the request was cancelled"});
  }
}

void Engine::Impl::expire() {
  const TimePoint now = clock_.now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    RequestRecord* record = find(deadlines_.begin()->second);
    TESSERA_CHECK(record != nullptr, "deadline of an unknown request");
    fail(*record,
         {FailureReason::kDeadlineExceeded,
          detail::concat("the deadline passed after ", record->sequence.num_steps, " steps")});
  }
}

std::optional<TimePoint> Engine::Impl::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

void Engine::Impl::fail_all(const SequenceFailure& failure) {
  std::vector<RequestRecord*> all;
  for (const auto& [id, record] : records_) all.push_back(record.get());
  std::ranges::sort(all, ByServiceOrder{});
  for (RequestRecord* record : all) fail(*record, failure);
}

EngineStats Engine::Impl::stats() const {
  EngineStats stats = stats_;
  stats.num_waiting = static_cast<std::int32_t>(waiting_.size());
  stats.num_running = static_cast<std::int32_t>(records_.size() - waiting_.size());
  for (const auto& [id, replica] : replicas_) {
    const PageAllocator& pages = replica.tables.allocator();
    stats.replicas.push_back({id, static_cast<std::int32_t>(replica.running.size()),
                              pages.num_free(), pages.num_active(), pages.num_cached()});
    stats.page_evictions += replica.tables.cache().num_evictions();
  }
  return stats;
}

}  // namespace tessera
