// Prism reads this when it loads: it must not look for elements to colour by itself.
globalThis.Prism = { manual: true, disableWorkerMessageHandler: true };
