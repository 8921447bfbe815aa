#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/base/types.h"
#include "coordinator/text/chat_template.h"
#include "coordinator/text/tokenizer.h"

namespace tessera {

/// Everything about text that a model folder says. Immutable after load_text; any thread.
struct TextModel {
  Tokenizer tokenizer;
  std::optional<ChatTemplate> chat_template;  ///< Not every checkpoint has one.
  /// bos_token, eos_token, pad_token, unk_token, mask_token, additional_special_tokens of
  /// tokenizer_config.json as strings, absent ones left out. Every template sees them.
  nlohmann::ordered_json special_tokens = nlohmann::ordered_json::object();
  std::optional<TokenId> bos_id;
  std::optional<TokenId> eos_id;
  std::optional<TokenId> mask_id;

  /// Renders a conversation.
  ///
  /// @param messages  Array of {"role": ..., "content": ...} objects, as in the request.
  /// @param extra     Object of further names: tools, enable_thinking, ... ; wins over the special
  ///                  tokens. `tools` absent and null are the same to every known template.
  /// @throws Error{kInvalidArgument} without a chat template, or as ChatTemplate::render.
  std::string render_chat(
      const nlohmann::ordered_json& messages,
      bool add_generation_prompt = true,
      const nlohmann::ordered_json& extra = nlohmann::ordered_json::object()) const;
};

/// Reads the tokenizer (see vocabulary_files.h) of a model folder, and tokenizer_config.json and
/// chat_template.jinja if there are any. The template is, in this order, `chat_template_file`,
/// chat_template.jinja, and `chat_template` of tokenizer_config.json (of several named ones,
/// "default").
///
/// @throws Error{kInvalidArgument} naming the file and the field.
TextModel load_text(const std::filesystem::path& model_dir,
                    const std::optional<std::filesystem::path>& chat_template_file = std::nullopt);

}  // namespace tessera
