#pragma once

#include <filesystem>
#include <string>

namespace tessera {

/// Creates or overwrites a file. @throws Error{kDevice} naming it.
void write_text(const std::filesystem::path& path, const std::string& text);

}  // namespace tessera
