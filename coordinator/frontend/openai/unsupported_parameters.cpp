#include "coordinator/frontend/openai/unsupported_parameters.h"

#include <algorithm>
#include <string_view>

namespace tessera {
namespace {

struct UnsupportedParameter {
  std::string_view name;
  std::string_view harmless;  ///< JSON list of values that ask for nothing; null always does.
};

constexpr UnsupportedParameter kUnsupported[] = {
    {"logprobs", "[false]"},
    {"top_logprobs", "[0]"},
    {"prompt_logprobs", "[false]"},
    {"tools", "[[]]"},
    {"tool_choice", R"(["none", "auto"])"},
    {"functions", "[[]]"},
    {"function_call", R"(["none", "auto"])"},
    {"response_format", R"([{"type": "text"}])"},
    {"presence_penalty", "[0]"},
    {"frequency_penalty", "[0]"},
    {"repetition_penalty", "[1]"},
    {"length_penalty", "[1]"},
    {"logit_bias", "[{}]"},
    {"best_of", "[1]"},
    {"use_beam_search", "[false]"},
    {"suffix", R"([""])"},
    {"min_p", "[0]"},
    {"typical_p", "[1]"},
    {"min_tokens", "[0]"},
    {"stop_token_ids", "[[]]"},
    {"bad_words", "[[]]"},
    {"include_stop_str_in_output", "[false]"},
    {"guided_json", "[]"},
    {"guided_regex", "[]"},
    {"guided_choice", "[]"},
    {"guided_grammar", "[]"},
    {"structured_outputs", "[]"},
    {"modalities", R"([["text"]])"},
    {"audio", "[]"},
    {"prediction", "[]"},
    {"web_search_options", "[]"},
};

}  // namespace

void refuse_unsupported_parameters(FieldReader& fields) {
  for (const UnsupportedParameter& parameter : kUnsupported) {
    const nlohmann::json* value = fields.find(parameter.name);
    if (value == nullptr) continue;
    const auto harmless = nlohmann::json::parse(parameter.harmless);
    if (std::find(harmless.begin(), harmless.end(), *value) != harmless.end()) continue;
    const std::string name(parameter.name);
    fields.fail(unsupported_parameter(name, name + " is not supported, got " + brief(*value)));
  }
}

}  // namespace tessera
