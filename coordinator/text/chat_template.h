#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tessera {

namespace jinja {
struct Template;
}

/// A chat template in the subset of Jinja that published checkpoints use (jinja_parser.h has the
/// grammar, jinja_builtins.h the filters, tests and methods).
///
/// Renders character for character what Jinja2 does in the environment of Hugging Face
/// transformers (trim_blocks, lstrip_blocks, loop controls, its own `tojson`, raise_exception).
/// A template is untrusted input: output, work and recursion are bounded, see jinja_runtime.h.
///
/// Immutable; render() may be called from any thread. Copies share the parsed template.
class ChatTemplate {
 public:
  /// @throws Error{kInvalidArgument} "chat template line N: ..." for syntax that is wrong or not
  ///         supported.
  explicit ChatTemplate(std::string_view source);

  /// @param context  An object: messages, tools, add_generation_prompt, bos_token, ... A name that
  ///                 is missing is `undefined` in the template; null is `none`.
  /// @throws Error{kInvalidArgument} "chat template line N: ..." for raise_exception(...), an
  ///         operation Jinja2 refuses too, and a limit that is passed.
  std::string render(const nlohmann::ordered_json& context) const;

 private:
  std::shared_ptr<const jinja::Template> template_;
};

}  // namespace tessera
