// The AI SDK with its default `openai()`; its address and key are in the environment.
import { openai } from "@ai-sdk/openai";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const prices = JSON.parse(process.env.PRICES);
const price = tool({
  description: "The price of an item.",
  inputSchema: z.object({ item: z.string() }),
  execute: async ({ item }) => prices[item],
});
const model = openai("rlm");
const shopping = { model, prompt: "shop for me", tools: { price }, stopWhen: stepCountIs(10) };

const plain = await generateText({ model, prompt: "What?" });
const shop = await generateText(shopping);
let streamed = "";
for await (const text of streamText(shopping).textStream) streamed += text;
const unstored = await generateText({ ...shopping, providerOptions: { openai: { store: false } } });
const schema = z.object({ name: z.string(), born: z.number() });
const formed = await generateObject({ model, prompt: "who was it?", schema });
const before = { previousResponseId: plain.providerMetadata.openai.responseId };
const then = await generateText({ model, prompt: "more", providerOptions: { openai: before } });
const bare = await generateText({ model: openai.completion("rlm"), prompt: "What?" });
let refused = 0;
try {
  const search = { web_search: openai.tools.webSearch() };
  await generateText({ model, prompt: "What?", tools: search, maxRetries: 0 });
} catch (error) {
  refused = error.statusCode;
}
console.log(
  JSON.stringify({
    plain: plain.text,
    counted: plain.usage.totalTokens > 0,
    shopped: shop.text,
    steps: shop.steps.length,
    streamed,
    unstored: unstored.text,
    formed: formed.object,
    then: then.text,
    bare: bare.text,
    refused,
  }),
);
