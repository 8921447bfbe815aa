#include "coordinator/text/json_field.h"

namespace tessera {

nlohmann::json parse_json(std::string_view text, const std::string& name) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(ErrorCode::kInvalidArgument,
                detail::concat(name, ": malformed JSON at byte ", error.byte, ": ", error.what()));
  }
}

}  // namespace tessera
