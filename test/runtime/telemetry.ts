// Runtime tests: OpenTelemetry's instrumentation of pg, as an application sets it up before it loads pg. Import it before anything else.
import { context, trace } from "@opentelemetry/api";
import { PgInstrumentation } from "@opentelemetry/instrumentation-pg";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();
export const instrumentation = new PgInstrumentation();
instrumentation.setTracerProvider(provider);

const tracer = trace.getTracer("test");

/** What ended while `fn` ran in a span of its own: pg's spans, and whether that span is their parent. */
export async function traced<T>(
  fn: () => Promise<T>,
): Promise<{ result: T; queries: { text: unknown; name: string; child: boolean; error: boolean }[] }> {
  exporter.reset();
  const parent = tracer.startSpan("request");
  const result = await context.with(trace.setSpan(context.active(), parent), fn);
  parent.end();
  const { traceId } = parent.spanContext();
  const isQuery = ({ name }: ReadableSpan) => name.startsWith("pg.query");
  const queries = exporter
    .getFinishedSpans()
    .filter(isQuery)
    .map((span) => ({
      text: span.attributes["db.query.text"],
      name: span.name.replace(/ \S+$/, ""),
      child: span.spanContext().traceId === traceId,
      error: span.status.code === 2,
    }));
  return { result, queries };
}
