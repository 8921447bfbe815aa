#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/frontend/openai/api_error.h"
#include "coordinator/frontend/openai/generation_request.h"
#include "coordinator/frontend/openai/served_model.h"
#include "coordinator/request/sequence_request.h"
#include "strategies/strategy.h"

namespace tessera {

/// A strategy with the options of one request bound.
struct ResolvedDecoding {
  std::shared_ptr<const Strategy> strategy;
  std::optional<std::int32_t> max_nfe;
  std::optional<std::int32_t> max_repetition_run;
  bool wants_edits = false;
};

/// A request whose defaults and bounds are settled: what the engine gets and how to answer.
struct ResolvedRequest {
  /// Prompt-major: choice i belongs to prompt i / num_choices. Ids are 0 and deadlines absent
  /// until the request is submitted.
  std::vector<SequenceRequest> sequences;
  std::vector<std::string> echoed;  ///< Per prompt with `echo`, else empty.
  std::int32_t choices_per_prompt = 1;
  std::uint64_t seed = 0;  ///< Given or drawn.

  bool is_chat = false;
  bool stream = false;
  bool include_usage = false;
  bool return_token_ids = false;
  bool wants_edits = false;
  std::vector<std::string> stop;
  std::vector<std::string> ignored;
};

/// Settles `decoding`: strategy, options, limits and the kind of stream.
Parsed<ResolvedDecoding> resolve_decoding(const DecodingFields& fields, const ServedModel& model);

/// What a request that names nothing gets.
/// @throws Error{kInvalidArgument} if the server's own settings do not give a strategy that fits
///         the model, the page size and the rows of a step.
ResolvedDecoding default_decoding(const ServedModel& model);

/// The options of a strategy that the server sets, for requests that set nothing: its preset, and
/// over it what is configured for its own strategy.
OptionValues server_options(const StrategyEntry& entry, const ServedModel& model);

/// Settles everything. Pure; costs the tokenisation of the prompts.
///
/// @param drawn_seed  Used when the request has none.
/// @throws Error{kInvalidArgument} from the chat template or the tokenizer; a client's mistake.
Parsed<ResolvedRequest> resolve_request(const GenerationRequest& request,
                                        const ServedModel& model,
                                        std::uint64_t drawn_seed);

/// The model that a request names; absent is the served one.
std::optional<ApiError> refuse_other_model(const std::optional<std::string>& name,
                                           const ServedModel& model);

/// The first id that names no token of the model, if any.
std::optional<ApiError> refuse_foreign_ids(std::string param,
                                           const std::vector<TokenId>& ids,
                                           const ServedModel& model);

}  // namespace tessera
