#pragma once

#include <string>

namespace tessera {

/// docs/configuration.md, whole: every key with its type, range, default and meaning, in Markdown.
std::string config_reference();

}  // namespace tessera
