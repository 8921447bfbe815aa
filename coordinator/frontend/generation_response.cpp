#include "coordinator/frontend/generation_response.h"

#include <algorithm>
#include <cctype>

namespace tessera {
namespace {

constexpr std::size_t kMaxIgnoredListed = 16;
constexpr std::size_t kMaxIgnoredBytes = 64;

// Names come from the client and go into a header: only plain, short ones.
std::string ignored_header(const std::vector<std::string>& names) {
  std::string list;
  std::size_t listed = 0;
  for (const std::string& name : names) {
    const bool is_plain = name.size() <= kMaxIgnoredBytes && std::ranges::all_of(name, [](char c) {
                            return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
                                   c == '-' || c == '.';
                          });
    if (!is_plain || ++listed > kMaxIgnoredListed) continue;
    list += (list.empty() ? "" : ", ") + name;
  }
  return list;
}

std::string_view outcome_of(const ApiError& error) {
  return error.code == "deadline_exceeded" ? "timeout" : "error";
}

constexpr int kClientClosedRequest = 499;  // only in metrics and logs: nobody reads it

}  // namespace

HttpResponse error_response(const ApiError& error) {
  HttpResponse response{.status = error.status, .body = dump(to_json(error)) + "\n", .headers = {}};
  if (error.retry_after_seconds) {
    response.headers.emplace_back("Retry-After", std::to_string(*error.retry_after_seconds));
    response.headers.emplace_back("retry-after-ms",
                                  std::to_string(*error.retry_after_seconds * 1000));
  }
  // The next try should reach another server, if a balancer knows one.
  if (error.status == 503) response.headers.emplace_back("Connection", "close");
  return response;
}

GenerationResponse::GenerationResponse(const GenerationServices& services,
                                       const Tokenizer& tokenizer,
                                       Arrival arrival)
    : services_(services),
      tokenizer_(tokenizer),
      arrival_(std::move(arrival)),
      self_(std::make_shared<GenerationResponse*>(this)) {}

GenerationResponse::~GenerationResponse() {
  if (is_concluded_) return;
  cancel_open();
  conclude("cancelled", kClientClosedRequest);
}

void GenerationResponse::begin(Parsed<ResolvedRequest> resolved) {
  if (auto* error = std::get_if<ApiError>(&resolved)) {
    fail(std::move(*error));
  } else {
    submit(std::get<ResolvedRequest>(resolved));
  }
  wake();
}

void GenerationResponse::submit(ResolvedRequest& resolved) {
  head_ = {.content_type = "text/event-stream; charset=utf-8",
           .body = "",
           .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
  const std::string ignored = ignored_header(resolved.ignored);
  if (!ignored.empty()) head_.headers.emplace_back("x-ignored-params", ignored);
  head_.headers.emplace_back("x-request-id", arrival_.request_id);
  arrival_.identity.return_token_ids = resolved.return_token_ids;
  arrival_.identity.include_usage = resolved.include_usage;

  auto sequences = std::move(resolved.sequences);
  request_ = std::move(resolved);
  is_running_ = true;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    SequenceRequest& sequence = sequences[i];
    const auto index = static_cast<std::int32_t>(i);
    const auto prompt_len = static_cast<std::int32_t>(sequence.prompt.size());
    Choice choice{.output = ChoiceOutput(tokenizer_, request_.stop), .prompt_tokens = prompt_len};
    const std::size_t prompt = i / static_cast<std::size_t>(request_.choices_per_prompt);
    if (!request_.echoed.empty()) choice.echoed = request_.echoed[prompt];
    if (request_.wants_edits) {
      const std::int32_t room = sequence.limits.max_model_len - prompt_len;
      choice.edits.emplace(
          tokenizer_, EditFeed::Geometry{.choice = index,
                                         .prompt_len = prompt_len,
                                         .block_size = sequence.strategy->traits().block_size,
                                         .max_output = std::min(room, sequence.limits.max_tokens)});
    }
    choice.id = services_.sequences.enter(*this, index);
    sequence.id = choice.id;
    sequence.deadline = arrival_.deadline;
    choices_.push_back(std::move(choice));
  }
  for (SequenceRequest& sequence : sequences) services_.engine.submit(std::move(sequence));
}

void GenerationResponse::on_update(std::int32_t index, const SequenceUpdate& update) {
  if (failure_) return;
  Choice& choice = choices_[static_cast<std::size_t>(index)];
  choice.usage = update.usage;
  choice.num_steps = update.num_steps;
  if (!update.frozen.empty()) observe_commit(choice, update.frozen.size());
  choice.output.push(update.frozen);
  if (update.finish) choice.output.finish(*update.finish);
  if (choice.edits) choice.edits->push(update, choice.output.num_tokens());
  if (update.failure) {
    fail(error_of(*update.failure));
  } else if (choice.output.end() && !update.is_last()) {
    leave(choice);  // a stop string: the engine does not know it
  }
  wake();
}

void GenerationResponse::observe_commit(Choice& choice, std::size_t num_tokens) {
  const TimePoint now = services_.clock.now();
  if (!has_first_commit_) {
    services_.metrics.observe_first_commit(request_.stream, now - arrival_.time);
    has_first_commit_ = true;
  }
  if (choice.last_commit) {
    services_.metrics.observe_commit(now - *choice.last_commit,
                                     static_cast<std::int64_t>(num_tokens));
  }
  choice.last_commit = now;
}

void GenerationResponse::fail(ApiError error) {
  cancel_open();
  failure_ = std::move(error);
}

void GenerationResponse::leave(Choice& choice) {
  services_.sequences.leave(choice.id);
  services_.engine.cancel(choice.id);
}

void GenerationResponse::cancel_open() {
  for (Choice& choice : choices_) {
    if (services_.sequences.contains(choice.id)) leave(choice);
  }
}

bool GenerationResponse::all_ended() const {
  return std::ranges::all_of(choices_, [](const Choice& c) { return c.output.end().has_value(); });
}

const HttpResponse* GenerationResponse::stream_head() const {
  return is_running_ && request_.stream ? &head_ : nullptr;
}

ResponsePart GenerationResponse::poll(bool head_sent) {
  if (failure_) return poll_failed(head_sent);
  if (!is_running_) return {};
  return request_.stream ? poll_stream() : poll_whole();
}

ResponsePart GenerationResponse::poll_failed(bool head_sent) {
  conclude(outcome_of(*failure_), failure_->status);
  if (!head_sent) {
    HttpResponse whole = error_response(*failure_);
    whole.headers.emplace_back("x-request-id", arrival_.request_id);
    return {.kind = ResponsePart::Kind::kWhole, .whole = std::move(whole), .bytes = {}};
  }
  // No [DONE]: a cut answer must not look complete.
  return {.kind = ResponsePart::Kind::kEnd, .whole = {}, .bytes = sse_event(to_json(*failure_))};
}

ResponsePart GenerationResponse::poll_whole() {
  if (!all_ended()) return {};
  std::vector<FinishedChoice> finished;
  for (Choice& choice : choices_) {
    auto delta = choice.output.take();
    finished.push_back({choice.echoed + delta.text, std::move(delta.ids), *choice.output.end()});
  }
  HttpResponse whole{.body = dump(whole_response(arrival_.identity, finished, usage())) + "\n",
                     .headers = {}};
  const std::string ignored = ignored_header(request_.ignored);
  if (!ignored.empty()) whole.headers.emplace_back("x-ignored-params", ignored);
  whole.headers.emplace_back("x-request-id", arrival_.request_id);
  conclude(choices_.front().output.end()->finish_reason, whole.status);
  return {.kind = ResponsePart::Kind::kWhole, .whole = std::move(whole), .bytes = {}};
}

ResponsePart GenerationResponse::poll_stream() {
  ResponsePart part;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    render_choice(static_cast<std::int32_t>(i), choices_[i], part.bytes);
  }
  if (std::ranges::all_of(choices_, &Choice::is_ended)) {
    if (request_.include_usage) part.bytes += sse_event(usage_chunk(arrival_.identity, usage()));
    part.bytes += kSseDone;
    part.kind = ResponsePart::Kind::kEnd;
    conclude(choices_.front().output.end()->finish_reason, head_.status);
  } else if (!part.bytes.empty()) {
    part.kind = ResponsePart::Kind::kBytes;
  }
  services_.metrics.count_stream_bytes(part.bytes.size());
  return part;
}

void GenerationResponse::render_choice(std::int32_t index, Choice& choice, std::string& bytes) {
  if (choice.is_ended) return;
  if (choice.edits) {
    for (auto& event : choice.edits->take(next_seq_, choice.output.end().has_value())) {
      bytes += sse_event(diffusion_chunk(arrival_.identity, std::move(event)));
    }
  }
  const auto send = [&](const ChoiceOutput::Delta& delta, const std::optional<ChoiceEnd>& end) {
    bytes += sse_event(
        choice_chunk(arrival_.identity, index, delta, /*is_first=*/!choice.is_started, end));
    choice.is_started = true;
  };
  auto delta = choice.output.take();
  delta.text.insert(0, std::exchange(choice.echoed, {}));
  if (!delta.text.empty()) send(std::exchange(delta, {}), std::nullopt);
  if (!choice.output.end()) return;
  send(delta, choice.output.end());
  choice.is_ended = true;
}

ResponseUsage GenerationResponse::usage() const {
  ResponseUsage total{.seed = request_.seed};
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    const Choice& choice = choices_[i];
    total.completion_tokens += choice.output.num_tokens();
    total.nfe += choice.num_steps;
    if (i % static_cast<std::size_t>(request_.choices_per_prompt) != 0) continue;
    total.prompt_tokens += choice.prompt_tokens;
    total.cached_tokens += choice.usage.cached_tokens;
  }
  return total;
}

void GenerationResponse::conclude(std::string_view outcome, int status) {
  if (std::exchange(is_concluded_, true)) return;
  services_.metrics.count_http(arrival_.route, status);
  const bool has_run =
      std::ranges::any_of(choices_, [](const Choice& c) { return c.num_steps > 0; });
  if (failure_ && !has_run) services_.metrics.count_rejection(failure_->code);
  if (choices_.empty() || (failure_ && !has_run)) return;
  const ResponseUsage total = usage();
  RequestSummary summary{.outcome = outcome,
                         .queued = choices_.front().usage.queued,
                         .total = services_.clock.now() - arrival_.time,
                         .prompt_tokens = total.prompt_tokens,
                         .cached_tokens = total.cached_tokens,
                         .output_tokens = total.completion_tokens,
                         .num_steps = total.nfe};
  if (choices_.front().output.end()) summary.detail = choices_.front().output.end()->detail;
  services_.metrics.observe_finished(summary);
  services_.log_finished(arrival_.request_id, summary);
}

void GenerationResponse::wake() {
  if (wakeup_) wakeup_();
}

}  // namespace tessera
