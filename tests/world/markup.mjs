// The parsers that tests read other people's formats with.

import MarkdownIt from 'markdown-it';

export { parse as yaml } from 'yaml';

/** Markdown as the most permissive reader shows it: HTML taken as it is, bare addresses made links. */
export const markdown = (text) => new MarkdownIt({ html: true, linkify: true }).render(text);
