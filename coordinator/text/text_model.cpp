#include "coordinator/text/text_model.h"

#include <array>

#include "common/base/error.h"
#include "coordinator/text/json_field.h"
#include "coordinator/text/read_file.h"
#include "coordinator/text/vocabulary_files.h"

namespace tessera {
namespace {

constexpr std::array kTokenNames = {"bos_token", "eos_token", "pad_token", "unk_token",
                                    "mask_token"};

// A special token is written as its text, or as an object that holds it.
std::string token_text(const JsonField& field) {
  return field.value().is_object() ? field.member("content").string() : field.string();
}

nlohmann::ordered_json read_special_tokens(const JsonField& config) {
  nlohmann::ordered_json tokens = nlohmann::ordered_json::object();
  for (const char* name : kTokenNames) {
    const JsonField field = config.member(name);
    if (!field.is_null()) tokens[name] = token_text(field);
  }
  const JsonField additional = config.member("additional_special_tokens");
  if (additional.is_null()) return tokens;
  auto& list = tokens["additional_special_tokens"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < additional.array().size(); ++i) {
    list.push_back(token_text(additional.element(i)));
  }
  return tokens;
}

// chat_template of tokenizer_config.json: a text, or several with names.
std::optional<std::string> template_in_config(const JsonField& config) {
  const JsonField field = config.member("chat_template");
  if (field.is_null()) return std::nullopt;
  if (!field.value().is_array()) return field.string();
  for (std::size_t i = 0; i < field.array().size(); ++i) {
    const JsonField entry = field.element(i);
    if (entry.member("name").string() == "default") return entry.member("template").string();
  }
  return std::nullopt;
}

std::optional<TokenId> id_of(const TextModel& model, const char* name) {
  const auto text = model.special_tokens.find(name);
  if (text == model.special_tokens.end()) return std::nullopt;
  return model.tokenizer.token_to_id(text->get_ref<const std::string&>());
}

}  // namespace

std::string TextModel::render_chat(const nlohmann::ordered_json& messages,
                                   bool add_generation_prompt,
                                   const nlohmann::ordered_json& extra) const {
  TESSERA_REQUIRE(chat_template.has_value(),
                  "the model has no chat template: use /v1/completions, or start the server with "
                  "--chat-template FILE");
  nlohmann::ordered_json context = special_tokens;
  context["messages"] = messages;
  context["add_generation_prompt"] = add_generation_prompt;
  for (const auto& [name, value] : extra.items()) context[name] = value;
  return chat_template->render(context);
}

TextModel load_text(const std::filesystem::path& model_dir,
                    const std::optional<std::filesystem::path>& chat_template_file) {
  TextModel model{.tokenizer = load_tokenizer(model_dir),
                  .chat_template = std::nullopt,
                  .special_tokens = nlohmann::ordered_json::object(),
                  .bos_id = std::nullopt,
                  .eos_id = std::nullopt,
                  .mask_id = std::nullopt};
  std::optional<std::string> source;
  const std::filesystem::path config_path = model_dir / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    const nlohmann::json document = parse_json(read_file(config_path), config_path.string());
    const JsonField config(document, config_path.string());
    model.special_tokens = read_special_tokens(config);
    source = template_in_config(config);
  }
  const std::filesystem::path beside = model_dir / "chat_template.jinja";
  if (chat_template_file.has_value()) {
    source = read_file(*chat_template_file);
  } else if (std::filesystem::exists(beside)) {
    source = read_file(beside);
  }
  if (source.has_value()) model.chat_template.emplace(*source);
  model.bos_id = id_of(model, "bos_token");
  model.eos_id = id_of(model, "eos_token");
  model.mask_id = id_of(model, "mask_token");
  return model;
}

}  // namespace tessera
