#include "coordinator/frontend/openai/resolve_request.h"

#include <algorithm>
#include <limits>

#include "common/base/philox.h"

namespace tessera {
namespace {

// Tokens of every prompt, in order.
Parsed<std::vector<std::vector<TokenId>>> encode_prompts(const GenerationRequest& request,
                                                         const ServedModel& model) {
  const TextModel& text = *model.text;
  std::vector<std::vector<TokenId>> prompts;
  if (request.chat) {
    const std::string rendered = text.render_chat(
        request.chat->messages, /*add_generation_prompt=*/true, request.chat->template_arguments);
    prompts.push_back(text.tokenizer.encode(rendered));
  }
  for (const auto& prompt : request.prompts) {
    if (const auto* string = std::get_if<TextPrompt>(&prompt)) {
      prompts.push_back(text.tokenizer.encode(*string, {.add_special = true}));
    } else {
      const auto& ids = std::get<TokenPrompt>(prompt);
      if (auto refusal = refuse_foreign_ids("prompt", ids, model)) return *std::move(refusal);
      prompts.push_back(ids);
    }
  }
  return prompts;
}

std::optional<ApiError> refuse_length(const std::string& param,
                                      const std::vector<TokenId>& prompt,
                                      const ServedModel& model) {
  if (prompt.empty()) return invalid_value(param, param + " has no tokens; at least 1 is needed");
  if (std::ssize(prompt) < model.max_model_len) return std::nullopt;
  return context_length_exceeded(param, param + " has " + std::to_string(prompt.size()) +
                                            " tokens, but prompt and output together may have " +
                                            std::to_string(model.max_model_len) + ": at most " +
                                            std::to_string(model.max_model_len - 1) +
                                            " prompt tokens");
}

SamplingParams resolve_sampling(const GenerationRequest& request, const ServedModel& model) {
  return {.temperature = static_cast<float>(request.temperature.value_or(model.temperature)),
          // As a float a tiny one would be 0, which is not allowed.
          .top_p = std::max(static_cast<float>(request.top_p.value_or(model.top_p)),
                            std::numeric_limits<float>::min()),
          .top_k = static_cast<std::int32_t>(request.top_k.value_or(model.top_k))};
}

SequenceLimits resolve_limits(const GenerationRequest& request,
                              const ResolvedDecoding& decoding,
                              const ServedModel& model) {
  return {.max_tokens = static_cast<std::int32_t>(
              request.max_tokens.value_or(std::min(model.default_max_tokens, model.max_model_len))),
          .max_model_len = model.max_model_len,
          .max_nfe = decoding.max_nfe,
          .max_repetition_run = decoding.max_repetition_run,
          .eos_ids = request.ignore_eos ? std::vector<TokenId>{} : model.facts.eos_ids};
}

// Choice 0 has the request's own seed, so that n = 1 and the first of n agree.
std::uint64_t seed_of_choice(std::uint64_t seed, std::size_t choice) {
  return choice == 0 ? seed : splitmix64(seed + choice);
}

void add_sequences(const GenerationRequest& request,
                   const ServedModel& model,
                   const ResolvedDecoding& decoding,
                   const std::vector<TokenId>& prompt,
                   ResolvedRequest& resolved) {
  if (request.echo) resolved.echoed.push_back(model.text->tokenizer.decode(prompt));
  for (std::int32_t i = 0; i < request.num_choices; ++i) {
    SequenceRequest sequence;
    sequence.prompt = prompt;
    sequence.strategy = decoding.strategy;
    sequence.sampling = resolve_sampling(request, model);
    sequence.sampling.seed = seed_of_choice(resolved.seed, resolved.sequences.size());
    sequence.limits = resolve_limits(request, decoding, model);
    sequence.priority = request.priority;
    sequence.wants_edits = decoding.wants_edits;
    resolved.sequences.push_back(std::move(sequence));
  }
}

std::optional<ApiError> refuse_combination(const GenerationRequest& request,
                                           const ResolvedDecoding& decoding,
                                           const ServedModel& model) {
  if (decoding.wants_edits && !request.stream) {
    return invalid_value("decoding.stream",
                         "decoding.stream \"edits\" is only allowed with stream: true");
  }
  if (request.max_tokens.value_or(1) > model.max_model_len) {
    return invalid_value(request.max_tokens_name,
                         request.max_tokens_name + " must be an integer in [1, " +
                             std::to_string(model.max_model_len) + "], got " +
                             std::to_string(*request.max_tokens));
  }
  return std::nullopt;
}

}  // namespace

std::optional<ApiError> refuse_other_model(const std::optional<std::string>& name,
                                           const ServedModel& model) {
  if (!name || *name == model.name || *name == "default") return std::nullopt;
  return model_not_found(*name, model.name);
}

std::optional<ApiError> refuse_foreign_ids(std::string param,
                                           const std::vector<TokenId>& ids,
                                           const ServedModel& model) {
  const auto foreign = std::ranges::find_if(
      ids, [&](TokenId id) { return id < 0 || id >= model.facts.tokenizer_size; });
  if (foreign == ids.end()) return std::nullopt;
  const std::string place = param + "[" + std::to_string(foreign - ids.begin()) + "]";
  return invalid_value(std::move(param), place + " is token id " + std::to_string(*foreign) +
                                             ", allowed are 0 to " +
                                             std::to_string(model.facts.tokenizer_size - 1));
}

Parsed<ResolvedRequest> resolve_request(const GenerationRequest& request,
                                        const ServedModel& model,
                                        std::uint64_t drawn_seed) {
  if (auto refusal = refuse_other_model(request.model, model)) return *std::move(refusal);
  auto decoding = resolve_decoding(request.decoding, model);
  if (auto* error = std::get_if<ApiError>(&decoding)) return std::move(*error);
  const auto& settled = std::get<ResolvedDecoding>(decoding);
  if (auto refusal = refuse_combination(request, settled, model)) return *std::move(refusal);

  auto prompts = encode_prompts(request, model);
  if (auto* error = std::get_if<ApiError>(&prompts)) return std::move(*error);
  ResolvedRequest resolved{.sequences = {},
                           .echoed = {},
                           .choices_per_prompt = request.num_choices,
                           .seed = request.seed.value_or(drawn_seed),
                           .is_chat = request.chat.has_value(),
                           .stream = request.stream,
                           .include_usage = request.include_usage,
                           .return_token_ids = request.return_token_ids,
                           .wants_edits = settled.wants_edits,
                           .stop = request.stop,
                           .ignored = request.ignored};
  for (const auto& prompt : std::get<0>(prompts)) {
    const std::string param = request.chat ? "messages" : "prompt";
    if (auto refusal = refuse_length(param, prompt, model)) return *std::move(refusal);
    add_sequences(request, model, settled, prompt, resolved);
  }
  return resolved;
}

}  // namespace tessera
