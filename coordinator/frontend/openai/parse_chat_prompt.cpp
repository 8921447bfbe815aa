#include <algorithm>
#include <array>
#include <string_view>

#include "coordinator/frontend/openai/parse_generation_request.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};

// A string, or a list of {"type": "text", "text": ...} whose texts are joined. An assistant's
// message may have none.
std::optional<std::string> text_of_content(const json& message, const std::string& role) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    return role == "assistant" ? std::optional<std::string>("") : std::nullopt;
  }
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) return std::nullopt;
  std::string text;
  for (const json& part : *content) {
    const bool is_text = part.is_object() && part.value("type", json()) == json("text") &&
                         part.value("text", json()).is_string();
    if (!is_text) return std::nullopt;
    text += part.at("text").get_ref<const std::string&>();
  }
  return text;
}

void parse_message(const json& message,
                   const std::string& param,
                   FieldReader& fields,
                   ChatPrompt& prompt) {
  if (!message.is_object()) {
    return fields.fail(invalid_value(param, param + " must be an object, got " + brief(message)));
  }
  FieldReader nested(message, param + ".");
  const std::string role = nested.text("role").value_or("");
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
    nested.refuse("role", "must be system, developer, user, assistant or tool");
  }
  const json* calls = nested.find("tool_calls");
  if (calls != nullptr && *calls != json::array()) {
    nested.fail(unsupported_parameter(param + ".tool_calls", "tool calls are not supported"));
  }
  const auto text = text_of_content(message, role);
  if (!text) nested.refuse("content", R"(must be a string or a list of {"type": "text"} parts)");
  if (nested.error()) return fields.fail(*nested.error());
  // Templates know "system"; "developer" is the newer name of the same thing.
  prompt.messages.push_back({{"role", role == "developer" ? "system" : role}, {"content", *text}});
}

void parse_template_arguments(FieldReader& fields, ChatPrompt& prompt) {
  const json* arguments = fields.find("chat_template_kwargs");
  if (arguments == nullptr) return;
  if (!arguments->is_object()) return fields.refuse("chat_template_kwargs", "must be an object");
  for (const auto& [name, value] : arguments->items()) {
    if (value.is_structured() || name == "messages") {
      const std::string param = "chat_template_kwargs." + name;
      return fields.fail(invalid_value(
          param, param + " must be true, false, a number or a string, got " + brief(value)));
    }
    prompt.template_arguments[name] = value;
  }
}

}  // namespace

ChatPrompt parse_chat_prompt(FieldReader& fields) {
  ChatPrompt prompt;
  const json* messages = fields.find("messages");
  if (messages == nullptr) {
    ApiError error = invalid_value("messages", "messages is missing: a list of {role, content}");
    error.code = "missing_field";
    fields.fail(std::move(error));
  } else if (!messages->is_array() || messages->empty()) {
    fields.refuse("messages", "must be a list of at least one {role, content}");
  } else {
    for (std::size_t i = 0; i < messages->size() && !fields.error(); ++i) {
      parse_message((*messages)[i], "messages[" + std::to_string(i) + "]", fields, prompt);
    }
  }
  parse_template_arguments(fields, prompt);
  return prompt;
}

}  // namespace tessera
