#pragma once

#include "coordinator/frontend/openai/field_reader.h"

namespace tessera {

/// Fails the reader for the first parameter of the OpenAI API, or of servers like it, that would
/// change the answer and is not implemented. Values that ask for nothing ("logprobs": false,
/// "tools": [], a penalty of 0) pass: many clients send them always.
void refuse_unsupported_parameters(FieldReader& fields);

}  // namespace tessera
