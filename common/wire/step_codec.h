#pragma once

#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"
#include "common/wire/schema/frame.capnp.h"

namespace tessera::wire {

/// Bodies of the two messages of a step. Reading throws Error{kTransport} for values that break the
/// rules of their types, and kj::Exception for what is not Cap'n Proto; codec.cpp turns that into
/// the former.
void write_plan(const StepPlan& plan, schema::StepPlan::Builder to);
void read_plan(schema::StepPlan::Reader from, StepPlan& plan);
void write_result(const StepResult& result, schema::StepResult::Builder to);
void read_result(schema::StepResult::Reader from, StepResult& result);

/// Upper estimate of a message's length in words, so that it is built in one segment.
std::size_t estimated_words(const StepPlan& plan);
std::size_t estimated_words(const StepResult& result);

}  // namespace tessera::wire
