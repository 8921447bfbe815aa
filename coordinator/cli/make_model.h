#pragma once

namespace tessera {

/// `tessera make-model`: becomes the program tessera-make-model beside this one, which knows the
/// models (the coordinator's side does not). Does not return.
/// @throws Error{kInternal} if the program is not there.
int run_make_model(int argc, const char* const* argv);

}  // namespace tessera
