#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/frontend/http/pending_response.h"
#include "coordinator/frontend/openai/api_error.h"
#include "coordinator/frontend/openai/choice_output.h"
#include "coordinator/frontend/openai/edit_feed.h"
#include "coordinator/frontend/openai/resolve_request.h"
#include "coordinator/frontend/openai/response_json.h"
#include "coordinator/frontend/request_metrics.h"
#include "coordinator/frontend/sequence_table.h"
#include "coordinator/request/engine_client.h"

namespace tessera {

/// An error as the answer to a request.
HttpResponse error_response(const ApiError& error);

/// What answers share. All of it outlives them.
struct GenerationServices {
  EngineClient& engine;
  SequenceTable& sequences;
  RequestMetrics& metrics;
  const Clock& clock;
  std::function<void(const std::string& request_id, const RequestSummary&)> log_finished;
};

/// The life of one generation request from its arrival to its last byte: submits its sequences,
/// collects their updates and renders them as a stream or as a whole.
///
///     created --begin(resolved)--> running --all choices ended--> done
///        \---begin(error)---------------\-----a sequence failed--> failed
///
/// Destroyed before its end it cancels what still runs. Owned by its connection, on the server's
/// thread.
class GenerationResponse final : public PendingResponse, private UpdateListener {
 public:
  struct Arrival {
    std::string request_id;
    std::string_view route;
    TimePoint time;
    std::optional<TimePoint> deadline;
    ResponseIdentity identity;
  };

  GenerationResponse(const GenerationServices& services,
                     const Tokenizer& tokenizer,
                     Arrival arrival);
  ~GenerationResponse() override;

  /// Submits the sequences, or ends with the error. Once.
  void begin(Parsed<ResolvedRequest> resolved);

  /// Expires with this object, for work that finishes elsewhere.
  std::weak_ptr<GenerationResponse*> self() const { return self_; }

  void set_wakeup(std::function<void()> wakeup) override { wakeup_ = std::move(wakeup); }
  const HttpResponse* stream_head() const override;
  ResponsePart poll(bool head_sent) override;

 private:
  struct Choice {
    RequestId id = 0;
    ChoiceOutput output;
    std::optional<EditFeed> edits = {};
    std::string echoed = {};  ///< Goes before the first text.
    std::int32_t prompt_tokens = 0;
    SequenceUsage usage = {};
    std::int32_t num_steps = 0;
    std::optional<TimePoint> last_commit = {};
    bool is_started = false;  ///< A chunk of it was sent.
    bool is_ended = false;    ///< Its last chunk was sent.
  };

  void on_update(std::int32_t index, const SequenceUpdate& update) override;
  void submit(ResolvedRequest& resolved);
  void observe_commit(Choice& choice, std::size_t num_tokens);
  void fail(ApiError error);
  void cancel_open();
  void leave(Choice& choice);
  bool all_ended() const;
  ResponsePart poll_failed(bool head_sent);
  ResponsePart poll_whole();
  ResponsePart poll_stream();
  void render_choice(std::int32_t index, Choice& choice, std::string& bytes);
  ResponseUsage usage() const;
  void conclude(std::string_view outcome, int status);
  void wake();

  GenerationServices services_;
  const Tokenizer& tokenizer_;
  Arrival arrival_;
  std::shared_ptr<GenerationResponse*> self_;
  std::function<void()> wakeup_;

  ResolvedRequest request_;  ///< Its sequences are moved to the engine.
  bool is_running_ = false;
  std::vector<Choice> choices_;
  std::optional<ApiError> failure_;
  HttpResponse head_;
  std::int64_t next_seq_ = 0;
  bool has_first_commit_ = false;
  bool is_concluded_ = false;
};

}  // namespace tessera
