#include "coordinator/text/chat_template.h"

#include "coordinator/text/jinja_interpreter.h"
#include "coordinator/text/jinja_parser.h"

namespace tessera {

ChatTemplate::ChatTemplate(std::string_view source)
    : template_(std::make_shared<const jinja::Template>(jinja::parse(source))) {}

std::string ChatTemplate::render(const nlohmann::ordered_json& context) const {
  TESSERA_REQUIRE(context.is_object(), "the context of a chat template must be an object, is ",
                  context.type_name());
  jinja::Runtime runtime;
  return jinja::render(runtime, *template_, jinja::Value::from_json(runtime, context));
}

}  // namespace tessera
