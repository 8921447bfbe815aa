# Everything that travels between the coordinator and the ranks, one Frame per ZeroMQ message.
# Types and rules: common/decoding and common/wire/messages.h. A change that an older peer cannot
# read takes a new version number in messages.h: ranks and coordinator are always of one build.
@0xb8a7e4d2c1f09365;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("tessera::wire::schema");

struct Frame {
  magic @0 :UInt32;
  version @1 :UInt16;
  epoch @2 :UInt64;
  step @3 :UInt64;  # 0 in frames that belong to no step
  union {
    none @4 :Void;  # what a frame of zeros reads as; an error
    hello @5 :Hello;
    welcome @6 :Welcome;
    ready @7 :Void;
    heartbeat @8 :Heartbeat;
    rankFailure @9 :RankFailure;
    goodbye @10 :Goodbye;
    stepPlan @11 :StepPlan;
    stepResult @12 :StepResult;
  }
}

struct Hello {
  jobId @0 :Text;
  token @1 :Text;
  rank @2 :Int32;
  tp @3 :Int32;
  host @4 :Text;
  device @5 :Text;
  checkpointDigest @6 :Text;
  kvBytesPerToken @7 :Int64;
  kvMemoryBytes @8 :Int64;
  expertParallel @9 :Bool;
}

struct Welcome {
  pageSize @0 :Int32;
  numPages @1 :Int32;
  maxStepRows @2 :Int32;
  maxModelLen @3 :Int32;
  maxSequences @4 :Int32;
  heartbeatIntervalMs @5 :Int32;
}

struct Heartbeat {
  jobId @0 :Text;
  token @1 :Text;
  rank @2 :Int32;
}

struct RankFailure {
  code @0 :UInt8;
  message @1 :Text;
}

struct Goodbye {
  kind @0 :UInt8;
  reason @1 :Text;
}

struct Range {
  begin @0 :Int32;
  end @1 :Int32;
}

struct RowRecipe {
  position @0 :Int32;
  kind @1 :UInt8;
  renormalize @2 :Bool;
  baseId @3 :Int32;
  residual @4 :Float32;
  weight @5 :Float32;
  ids @6 :List(Int32);
  probabilities @7 :List(Float32);
}

struct Measure {
  kind @0 :UInt8;
  row @1 :Int32;
  position @2 :Int32;
  denoisingStep @3 :Int32;
  temperature @4 :Float32;
  topP @5 :Float32 = 1;
  topK @6 :Int32;
  seed @7 :UInt64;
  penalisedId @8 :Int32 = -1;
  penalty @9 :Float32;
  numAlternatives @10 :Int32;
}

struct Span {
  request @0 :UInt64;
  first @1 :Int32;
  tokens @2 :List(Int32);
  recipes @3 :List(RowRecipe);
  selfConditioning @4 :Bool;
  mask @5 :UInt8;
  cacheLen @6 :Int32;
  cacheHole @7 :Range;
  maskBlock @8 :Int32;
  promptLen @9 :Int32;
  stores @10 :List(Range);
  measures @11 :List(Measure);
}

struct PageTableDelta {
  request @0 :UInt64;
  firstPageIndex @1 :Int32;
  pages @2 :List(Int32);
}

struct StepPlan {
  released @0 :List(UInt64);
  pageTableDeltas @1 :List(PageTableDelta);
  spans @2 :List(Span);
}

struct Alternative {
  token @0 :Int32;
  probability @1 :Float32;
}

struct Measurement {
  position @0 :Int32;
  token @1 :Int32;
  confidence @2 :Float32;
  plainConfidence @3 :Float32;
  greedyToken @4 :Int32;
  entropy @5 :Float32;
  alternatives @6 :List(Alternative);
}

struct SpanResult {
  request @0 :UInt64;
  measurements @1 :List(Measurement);
}

struct StepResult {
  rank @0 :Int32;
  computeSeconds @1 :Float64;
  collectiveSeconds @2 :Float64;
  spans @3 :List(SpanResult);
}
