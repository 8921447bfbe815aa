#pragma once

#include "common/config/config.h"
#include "coordinator/frontend/openai/served_model.h"

namespace tessera {

/// Reads the text side and the facts of the model, and the defaults of its requests.
/// @throws Error{kInvalidArgument} naming file and field.
ServedModel load_served_model(const ServerConfig& config);

}  // namespace tessera
